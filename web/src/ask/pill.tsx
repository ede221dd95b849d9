/** A citation: a pill with the site's name, and a card with the quoted words in their context. */
import { useQuery } from "@tanstack/react-query";
import { Popover } from "radix-ui";
import { createContext, useContext, useEffect, useRef, useState } from "react";
import { call, problemOf } from "../api/client";
import type { Citation, Verdict } from "../api/types";
import { calm, leadsOut, Outward, points, savedPath, siteName, Words } from "../ui/text";
import { Time } from "../ui/time";
import { VERDICTS } from "./verdict";

const CONTEXT = 140;
const CONTEXTS: Record<string, string> = { answers: "In answer to", quotes: "Quoting" };
const OPEN_MS = 120;
const CLOSE_MS = 180;

// Browsers also tell of a resting pointer when something arrives under it; that opens no card.
let pointer = "";
let moved = false;
document.addEventListener(
  "mousemove",
  (event) => {
    const at = `${event.clientX},${event.clientY}`;
    moved = pointer !== "" && pointer !== at;
    pointer = at;
  },
  { capture: true },
);

/** Whether whoever reads may open documents; a shared page is for anybody. */
export const MayOpen = createContext(true);

interface PillProps {
  citation: Citation;
  verdict: Verdict | null;
}

export function Pill({ citation, verdict }: PillProps) {
  const [open, setOpen] = useState(false);
  const timer = useRef(0);
  const pinned = useRef(false);
  const inside = useRef(false);
  const button = useRef<HTMLButtonElement>(null);
  const name = nameOf(citation);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const soon = (next: boolean, after: number) => {
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setOpen(next), after);
  };
  const leave = () => {
    if (!pinned.current) soon(false, CLOSE_MS);
  };
  const change = (next: boolean) => {
    window.clearTimeout(timer.current);
    pinned.current = next;
    setOpen(next);
  };
  return (
    <Popover.Root open={open} onOpenChange={change}>
      <Popover.Anchor asChild>
        <button
          ref={button}
          type="button"
          className="pill"
          data-citation={citation.number}
          aria-haspopup="dialog"
          aria-expanded={open}
          onMouseMove={() => {
            if (moved && !open) soon(true, OPEN_MS);
          }}
          onMouseLeave={leave}
          onClick={() => change(true)}
        >
          <span className="sr">Citation </span>
          <span className="name">{name}</span>
          {citation.number > 0 && <span className="number">{citation.number}</span>}
        </button>
      </Popover.Anchor>
      <Popover.Portal>
        <Popover.Content
          className="card"
          aria-label={`Citation ${citation.number}`}
          collisionPadding={10}
          sideOffset={6}
          align="start"
          onOpenAutoFocus={(event) => {
            inside.current = pinned.current;
            if (!pinned.current) event.preventDefault();
          }}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            if (inside.current) button.current?.focus();
          }}
          onMouseEnter={() => window.clearTimeout(timer.current)}
          onMouseLeave={leave}
        >
          <Card citation={citation} verdict={verdict} name={name} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

/** A person's name for a post, else the site's. */
export const nameOf = (citation: Citation): string =>
  citation.author && (citation.kind === "post" || citation.kind === "comment")
    ? calm(citation.author)
    : siteName(citation);

interface Read {
  document: { text: string; title: string };
  versions?: { version: number; observed_at: string }[];
  latest?: number;
}

function Card({ citation, verdict, name }: PillProps & { name: string }) {
  const mayOpen = useContext(MayOpen);
  const read = useQuery({
    enabled: mayOpen && Boolean(citation.saved_url),
    queryKey: ["document", citation.key, citation.version],
    queryFn: () =>
      call<Read>(`/v1/documents/${encodeURIComponent(citation.key)}`, {
        query: { version: citation.version },
      }),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  const later = (read.data?.versions ?? []).filter((each) => each.version > citation.version);
  return (
    <>
      <p className="where">
        <strong>
          <Words>{name}</Words>
        </strong>
        {citation.author && citation.author !== name && (
          <>
            {" · "}
            <Words>{citation.author}</Words>
          </>
        )}
      </p>
      {citation.title && (
        <p className="title">
          <Words>{citation.title}</Words>
        </p>
      )}
      {citation.context.map((said) => (
        <p className="context" key={said.key} dir="auto">
          {CONTEXTS[said.relation] ?? said.relation}{" "}
          {said.author && <Words>{`${said.author}: `}</Words>}
          <q>{calm(said.text)}</q>
        </p>
      ))}
      <blockquote dir="auto">
        {read.data ? (
          <InContext text={read.data.document.text} citation={citation} />
        ) : (
          <mark>{calm(citation.quote)}</mark>
        )}
      </blockquote>
      {read.error && <p className="facts">{problemOf(read.error).message}</p>}
      <p className="facts">
        published <Time at={citation.published_at} claim /> · seen{" "}
        <Time at={citation.observed_at} />
        {citation.published_at && (
          <>
            {" · "}
            <Time at={citation.published_at} form="ago" claim />
          </>
        )}
      </p>
      {citation.copies > 1 && (
        <p className="facts" title={citation.copy_sources.join(", ")}>
          same copy ×{citation.copies}, counted as one origin
        </p>
      )}
      {later.length > 0 && (
        <p className="facts changed">
          Changed since:{" "}
          {later.length === 1 ? "one later version" : `${later.length} later versions`}, the newest
          seen <Time at={later.at(-1)?.observed_at} form="ago" />
        </p>
      )}
      {verdict && (
        <p className={`verdict ${verdict.kind}`}>
          {VERDICTS[verdict.kind].mark} {VERDICTS[verdict.kind].words}
          {verdict.reasons.length > 0 && `: ${verdict.reasons.map(calm).join("; ")}`}
        </p>
      )}
      <p className="links">
        {leadsOut(citation.url) && <Outward url={citation.url}>Original</Outward>}
        {citation.saved_url && (
          <a href={savedPath(citation.saved_url)} target="_blank" rel="noopener">
            Saved copy
          </a>
        )}
        {later.length > 0 && (
          <a href={`/changes/${encodeURIComponent(citation.key)}?from=${citation.version}`}>
            What changed
          </a>
        )}
      </p>
    </>
  );
}

function InContext({ text, citation }: { text: string; citation: Citation }) {
  const all = points(text);
  const start = Math.max(0, citation.start - CONTEXT);
  const end = Math.min(all.length, citation.end + CONTEXT);
  return (
    <>
      {start > 0 && "…"}
      {calm(all.slice(start, citation.start).join(""))}
      <mark>{calm(all.slice(citation.start, citation.end).join(""))}</mark>
      {calm(all.slice(citation.end, end).join(""))}
      {end < all.length && "…"}
    </>
  );
}
