/** What changed in the answer between an earlier moment and now, with the evidence that changed it. */
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../api/client";
import type { ClaimChange, Difference } from "../api/types";
import { calm } from "../ui/text";
import { localValue, Time } from "../ui/time";
import { Trouble, Waiting } from "../ui/trouble";
import { Pill } from "./pill";

const DEEDS: Record<string, string> = {
  new: "New",
  changed: "Changed",
  gone: "No longer said",
  unchanged: "Unchanged",
  passed: "Came and went",
};
const SPANS: [string, number][] = [
  ["1 h", 3_600],
  ["6 h", 21_600],
  ["24 h", 86_400],
  ["7 days", 604_800],
];

export function Changed({ question, since }: { question: string; since: string }) {
  // A question that was asked just now has nothing to compare with but an earlier moment.
  const fresh = Date.now() - new Date(since).getTime() < 600_000;
  const [from, setFrom] = useState(fresh ? new Date(Date.now() - 86_400_000).toISOString() : since);
  const found = useQuery({
    queryKey: ["diff", question, from],
    queryFn: ({ signal }) => call<Difference>("/v1/diff", { body: { question, from }, signal }),
    retry: false,
    staleTime: 30_000,
  });
  return (
    <section className="changed" aria-label="What changed">
      <div className="chips">
        <span>Since</span>
        {SPANS.map(([name, seconds]) => (
          <button
            key={name}
            type="button"
            className="chip"
            onClick={() => setFrom(new Date(Date.now() - seconds * 1000).toISOString())}
          >
            {name} ago
          </button>
        ))}
        <input
          type="datetime-local"
          aria-label="Since this moment"
          value={localValue(new Date(from))}
          max={localValue(new Date())}
          onChange={(event) =>
            event.target.value && setFrom(new Date(event.target.value).toISOString())
          }
        />
      </div>
      {found.isPending && <Waiting rows={2} label="Comparing" />}
      {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
      {found.data && (
        <>
          <p className="headline">
            {tally(found.data.changes)} between <Time at={found.data.start} /> and{" "}
            <Time at={found.data.end} />
          </p>
          <ul>
            {found.data.changes.map((change, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the list is replaced as a whole
              <Change key={at} change={change} />
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function tally(changes: readonly ClaimChange[]): string {
  const counts = new Map<string, number>();
  for (const { status } of changes) counts.set(status, (counts.get(status) ?? 0) + 1);
  const said = [...counts].map(([status, n]) => `${n} ${(DEEDS[status] ?? status).toLowerCase()}`);
  return said.length ? said.join(", ") : "Nothing was said, and nothing changed,";
}

export function Change({ change }: { change: ClaimChange }) {
  const { before, after, cause } = change;
  return (
    <li className="change">
      <strong>{DEEDS[change.status] ?? change.status}</strong>
      {before && change.status !== "unchanged" && (
        <p>
          <del dir="auto">{calm(before.text)}</del>{" "}
          <Pill citation={before.citation} verdict={null} />
        </p>
      )}
      {after && (
        <p>
          {change.status === "unchanged" ? (
            calm(after.text)
          ) : (
            <ins dir="auto">{calm(after.text)}</ins>
          )}{" "}
          <Pill citation={after.citation} verdict={null} />
        </p>
      )}
      {cause && (
        <p className="facts">
          {calm(cause.deed)} by {calm(cause.title || cause.source)}, <Time at={cause.at} />
        </p>
      )}
      {change.note && <p className="facts">{calm(change.note)}</p>}
    </li>
  );
}
