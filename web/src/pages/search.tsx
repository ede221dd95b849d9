/** What was seen, found again without a model. The address of the page holds the whole search. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { useSearchParams } from "wouter";
import { call } from "../api/client";
import type { SearchResults } from "../api/types";
import { counted } from "../ask/thread";
import { Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { useAsk } from "./now";
import { Head } from "./parts";
import { FIELDS, Filters, type Narrow } from "./search-filters";
import { Hit } from "./search-hit";

const STEP = 20;
const MOST = 100;
const TYPED_MS = 250;
export function SearchPage() {
  const [parameters, setParameters] = useSearchParams();
  const [limit, setLimit] = useState(STEP);
  const words = parameters.get("q") ?? "";
  const set: Narrow = (changes) => {
    setLimit(STEP);
    setParameters(
      (before) => {
        const next = new URLSearchParams(before);
        for (const [name, value] of Object.entries(changes)) {
          if (value) next.set(name, value);
          else next.delete(name);
        }
        return next;
      },
      { replace: true },
    );
  };
  const query = Object.fromEntries(FIELDS.map((name) => [name, parameters.get(name)]));
  // Without words there is nothing to be best at: the newest first.
  if (!words) query.newest = "true";
  const found = useQuery({
    queryKey: ["search", words, query, limit],
    queryFn: ({ signal }) =>
      call<SearchResults>("/v1/search", { query: { q: words, ...query, limit }, signal }),
    placeholderData: keepPreviousData,
    retry: false,
  });
  return (
    <div className="page search-page">
      <Head title="Search" about="Everything that was seen, in the sources' own words." />
      <Box words={words} set={set} />
      <Filters parameters={parameters} set={set} />
      <Results
        found={found.data}
        error={found.error}
        again={() => void found.refetch()}
        words={words}
        filtered={FIELDS.some((name) => name !== "newest" && parameters.has(name))}
        stale={found.isPlaceholderData}
        more={limit < MOST ? () => setLimit(limit + STEP) : null}
        limit={limit}
        set={set}
      />
    </div>
  );
}

function Box({ words, set }: { words: string; set: Narrow }) {
  const [typed, setTyped] = useState(words);
  const timer = useRef(0);
  const box = useRef<HTMLInputElement>(null);
  const ask = useAsk();
  useEffect(() => () => window.clearTimeout(timer.current), []);
  useEffect(() => {
    // Back and forward change the words, but not while somebody is writing.
    if (document.activeElement !== box.current) setTyped(words);
  }, [words]);
  useEffect(() => {
    // On a phone the keyboard would cover what there is to read.
    if (window.matchMedia("(hover: hover)").matches) box.current?.focus({ preventScroll: true });
  }, []);
  const type = (text: string) => {
    setTyped(text);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => set({ q: text.trim() }), TYPED_MS);
  };
  return (
    <form
      className="find"
      onSubmit={(event) => {
        event.preventDefault();
        window.clearTimeout(timer.current);
        set({ q: typed.trim() });
      }}
    >
      <label className="sr" htmlFor="search-words">
        Words to look for
      </label>
      <input
        id="search-words"
        ref={box}
        type="search"
        value={typed}
        placeholder="Words, “a phrase”, +must, -not"
        maxLength={2_000}
        enterKeyHint="search"
        onChange={(event) => type(event.target.value)}
      />
      <button type="submit" className="primary">
        Search
      </button>
      <button
        type="button"
        className="quiet"
        disabled={!typed.trim()}
        title="Make a checked answer of it"
        onClick={() => ask(typed.trim())}
      >
        Ask instead
      </button>
    </form>
  );
}

interface ResultsProps {
  found: SearchResults | undefined;
  error: unknown;
  again: () => void;
  words: string;
  filtered: boolean;
  stale: boolean;
  more: (() => void) | null;
  limit: number;
  set: Narrow;
}

function Results({ found, error, again, words, filtered, stale, more, limit, set }: ResultsProps) {
  if (error) return <Trouble error={error} again={again} />;
  if (!found) return <Waiting rows={5} label="Searching" />;
  const full = found.hits.length >= limit;
  return (
    <section aria-label="Results" aria-busy={stale} className={stale ? "stale" : ""}>
      {found.as_of && (
        <p className="past-band">
          As of <Time at={found.as_of} />, <Time at={found.as_of} form="ago" />: nothing seen later
          is shown.{" "}
          <button type="button" className="link" onClick={() => set({ as_of: "" })}>
            Back to now
          </button>
        </p>
      )}
      <p className="facts count" role="status">
        {summary(found, words, full)} · {found.took_ms.toFixed(found.took_ms < 10 ? 1 : 0)} ms
      </p>
      {!found.hits.length && <Nothing words={words} filtered={filtered} />}
      <ol className="hits">
        {found.hits.map((hit) => (
          <Hit key={`${hit.key} ${hit.version}`} hit={hit} words={words} />
        ))}
      </ol>
      {full &&
        (more ? (
          <button type="button" className="quiet more" onClick={more} disabled={stale}>
            More
          </button>
        ) : (
          <p className="facts more">
            The best {MOST} are shown. Add a word or a filter to see others.
          </p>
        ))}
    </section>
  );
}

function summary(found: SearchResults, words: string, full: boolean): string {
  if (!found.hits.length) return "Nothing found";
  if (!words) return `The newest ${counted(found.hits.length, "document")}`;
  return `${full ? "Best " : ""}${counted(found.hits.length, "result")}`;
}

function Nothing({ words, filtered }: { words: string; filtered: boolean }) {
  return (
    <Empty title={words ? `Nothing that was seen fits “${words}”.` : "Nothing has been seen yet."}>
      <p>
        {filtered
          ? "Clear the filters, or choose a longer time."
          : "Try other words, or add a source that covers this on the page Sources."}
      </p>
    </Empty>
  );
}
