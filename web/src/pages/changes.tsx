/** What a page or post said before and what it says now, from its saved copies. */
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useSearchParams } from "wouter";
import { call } from "../api/client";
import { calm, leadsOut, Outward, savedPath, siteName, Words } from "../ui/text";
import { said, Time } from "../ui/time";
import { Trouble, Waiting } from "../ui/trouble";
import { type Block, differences, type Piece } from "./diff";
import { Choice, Head } from "./parts";

interface Version {
  key: string;
  version: number;
  title: string;
  url: string;
  source: string;
  author: string;
  published_at: string | null;
  observed_at: string;
}
interface Read {
  life: string;
  since: string | null;
  reason: string;
  document: (Version & { text?: string; withheld: boolean }) | null;
  saved_url: string | null;
  versions: Version[];
}

export function ChangesPage() {
  const key = keyOf(window.location.pathname);
  const [query, setQuery] = useSearchParams();
  const latest = useRead(key, null);
  const versions = latest.data?.versions ?? [];
  const newest = versions.at(-1)?.version ?? 1;
  const to = Number(query.get("to")) || newest;
  const from = Math.min(Number(query.get("from")) || to - 1, to);
  const before = useRead(key, latest.data && from >= 1 ? from : null, !!latest.data);
  const after = useRead(key, latest.data ? to : null, !!latest.data);
  const error = latest.error ?? before.error ?? after.error;
  const title = calm(latest.data?.document?.title || versions.at(-1)?.title || key);
  const choose = (name: string) => (value: string) =>
    setQuery(
      (old) => {
        const next = new URLSearchParams(old);
        next.set(name, value);
        return next;
      },
      { replace: true },
    );
  const options = versions.map((each): [string, string] => [
    String(each.version),
    `${each.version}, seen ${said(new Date(each.observed_at))}`,
  ]);
  return (
    <div className="page">
      <Head title="What changed" about={<Words>{title}</Words>} />
      {error ? (
        <Trouble error={error} again={() => void latest.refetch()} />
      ) : !latest.data || !before.data || !after.data ? (
        <Waiting rows={4} label="Comparing" />
      ) : (
        <>
          <Life read={latest.data} />
          {versions.length < 2 ? (
            <p className="banner">
              There is one version only: nothing has changed since it was seen.
            </p>
          ) : (
            <div className="filters">
              <Choice
                label="Before: version"
                value={String(from)}
                options={options.filter(([value]) => Number(value) <= to)}
                onChange={choose("from")}
              />
              <Choice
                label="After: version"
                value={String(to)}
                options={options.filter(([value]) => Number(value) >= from)}
                onChange={choose("to")}
              />
            </div>
          )}
          <Compared before={before.data} after={after.data} />
        </>
      )}
    </div>
  );
}

/** The key in the address. It may hold anything, so that it is decoded here, once and wholly. */
function keyOf(path: string): string {
  const encoded = path.replace(/^\/changes\//, "");
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

const useRead = (key: string, version: number | null, wanted = true) =>
  useQuery({
    queryKey: ["document", key, version],
    queryFn: () => call<Read>(`/v1/documents/${encodeURIComponent(key)}`, { query: { version } }),
    staleTime: version === null ? 10_000 : Number.POSITIVE_INFINITY,
    enabled: wanted,
    retry: false,
  });

function Life({ read }: { read: Read }) {
  if (read.life !== "deleted") return null;
  return (
    <p className="banner">
      The source removed it <Time at={read.since} />. These are the copies that were seen before.{" "}
      <Words>{read.reason}</Words>
    </p>
  );
}

function Compared({ before, after }: { before: Read; after: Read }) {
  const [one, other] = [before.document, after.document];
  const blocks = useMemo(
    () => differences(tidy(one?.text ?? ""), tidy(other?.text ?? "")),
    [one, other],
  );
  if (!one || !other) return null;
  if (one.withheld || other.withheld) {
    return <p className="banner">The source's terms do not allow showing its text.</p>;
  }
  const changed = blocks.filter((block) => block.kind === "changed").length;
  const titles = one.title === other.title ? [] : differences(one.title, other.title);
  return (
    <>
      <ul className="facts row-facts">
        <li>
          <Words>{siteName(other)}</Words>
        </li>
        {other.author && (
          <li>
            <Words>{other.author}</Words>
          </li>
        )}
        <li>
          <a href={savedPath(before.saved_url ?? "")} target="_blank" rel="noopener">
            saved copy before
          </a>
        </li>
        <li>
          <a href={savedPath(after.saved_url ?? "")} target="_blank" rel="noopener">
            saved copy after
          </a>
        </li>
        {leadsOut(other.url) && (
          <li>
            <Outward url={other.url}>original</Outward>
          </li>
        )}
      </ul>
      <p role="status" className="facts">
        {changed || titles.length
          ? `${places(changed)} changed${titles.length ? ", and the title" : ""}.`
          : "The words are the same."}
      </p>
      <article className="diff" aria-label="Both versions in one">
        {titles.length > 0 && (
          <h2 dir="auto">
            {titles.map((block, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the list is replaced as a whole
              <Stretch key={at} block={block} whole />
            ))}
          </h2>
        )}
        {blocks.map((block, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the list is replaced as a whole
          <Stretch key={at} block={block} whole={!changed} />
        ))}
      </article>
    </>
  );
}

const places = (n: number): string =>
  n === 1 ? "One place" : n ? `${n.toLocaleString()} places` : "Nothing in the text";

// Spaces at the ends of lines come from how a page was read, not from who wrote it.
const tidy = (text: string): string => text.replace(/[ \t\r]+$/gm, "").trimEnd();

const SHOWN_LINES = 2;

function Stretch({ block, whole }: { block: Block; whole: boolean }) {
  const [open, setOpen] = useState(whole);
  if (block.kind === "changed") {
    return (
      <div className="edited" dir="auto">
        {block.pieces.map((piece, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the list is replaced as a whole
          <Bit key={at} piece={piece} />
        ))}
      </div>
    );
  }
  const { lines } = block;
  const left = lines.length - 2 * SHOWN_LINES;
  if (open || left < 3) return <Same lines={lines} />;
  return (
    <>
      <Same lines={lines.slice(0, SHOWN_LINES)} />
      <button type="button" className="link facts" onClick={() => setOpen(true)}>
        Show {left} unchanged lines
      </button>
      <Same lines={lines.slice(-SHOWN_LINES)} />
    </>
  );
}

const Same = ({ lines }: { lines: string[] }) => (
  <div className="same" dir="auto">
    {calm(lines.join(""))}
  </div>
);

function Bit({ piece }: { piece: Piece }) {
  const text = calm(piece.text);
  if (piece.kind === "gone") return <del>{text}</del>;
  if (piece.kind === "new") return <ins>{text}</ins>;
  return <>{text}</>;
}
