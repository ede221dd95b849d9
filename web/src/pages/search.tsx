/** What was seen, found again without a model. The address of the page holds the whole search. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { useSearchParams } from "wouter";
import { call } from "../api/client";
import { useSources } from "../api/queries";
import type { SearchHit, SearchResults } from "../api/types";
import { counted } from "../ask/thread";
import { calm, leadsOut, Marked, Outward, savedPath, siteName, Words } from "../ui/text";
import { localValue, Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { useAsk } from "./now";
import { Choice, Head, languageName } from "./parts";

const STEP = 20;
const MOST = 100;
const TYPED_MS = 250;
const KINDS: [string, string][] = [
  ["", "Anything"],
  ["article", "Articles"],
  ["page", "Pages"],
  ["post", "Posts"],
  ["comment", "Comments"],
  ["alert", "Alerts"],
  ["paper", "Papers"],
  ["release", "Releases"],
  ["file", "Files"],
];
const AGES: [string, string][] = [
  ["1 hour ago", "Last hour"],
  ["24 hours ago", "Last 24 hours"],
  ["7 days ago", "Last 7 days"],
  ["30 days ago", "Last 30 days"],
];
const MOMENTS: [string, string][] = [
  ["1 hour ago", "an hour ago"],
  ["24 hours ago", "24 hours ago"],
  ["7 days ago", "7 days ago"],
];
const LANGUAGES = ["en", "de", "es", "fr", "it", "nl", "pl", "pt", "ru", "uk", "ar", "ja", "zh"];
const FIELDS = ["since", "until", "as_of", "kind", "source", "lang", "newest"] as const;
type Field = "q" | (typeof FIELDS)[number];
type Set = (changes: Partial<Record<Field, string>>) => void;

export function SearchPage() {
  const [parameters, setParameters] = useSearchParams();
  const [limit, setLimit] = useState(STEP);
  const words = parameters.get("q") ?? "";
  const set: Set = (changes) => {
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

function Box({ words, set }: { words: string; set: Set }) {
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

function Filters({ parameters, set }: { parameters: URLSearchParams; set: Set }) {
  const sources = useSources();
  const [between, setBetween] = useState(parameters.has("until"));
  const [moment, setMoment] = useState(isMoment(parameters.get("as_of")));
  const since = parameters.get("since") ?? "";
  const asOf = parameters.get("as_of") ?? "";
  const of = (name: Field) => parameters.get(name) ?? "";
  const any = FIELDS.some((name) => parameters.has(name));
  return (
    <fieldset className="filters">
      <legend className="sr">Filters</legend>
      <Choice
        label="Published"
        value={between ? "between" : since}
        options={[["", "Any time"], ...AGES, ["between", "Between…"]]}
        onChange={(value) => {
          setBetween(value === "between");
          set({ since: value === "between" ? "" : value, until: "" });
        }}
      />
      {between && (
        <>
          <Moment label="From" value={since} onChange={(value) => set({ since: value })} />
          <Moment label="Until" value={of("until")} onChange={(value) => set({ until: value })} />
        </>
      )}
      <Choice
        label="As known"
        value={moment ? "moment" : asOf}
        options={[["", "Now"], ...MOMENTS, ["moment", "At a moment…"]]}
        onChange={(value) => {
          setMoment(value === "moment");
          set({ as_of: value === "moment" ? new Date().toISOString() : value });
        }}
      />
      {moment && <Moment label="Moment" value={asOf} onChange={(value) => set({ as_of: value })} />}
      <Choice label="Kind" value={of("kind")} options={KINDS} onChange={(kind) => set({ kind })} />
      <Choice
        label="Source"
        value={of("source")}
        options={[
          ["", "All sources"],
          ...(sources.data?.sources ?? []).map((each): [string, string] => [
            each.name,
            calm(each.title || each.name),
          ]),
        ]}
        onChange={(source) => set({ source })}
      />
      <Choice
        label="Language"
        value={of("lang")}
        options={[
          ["", "Any language"],
          ...LANGUAGES.map((code): [string, string] => [code, languageName(code)]),
        ]}
        onChange={(lang) => set({ lang })}
      />
      <label className="tick">
        <input
          type="checkbox"
          checked={of("newest") === "true"}
          onChange={(event) => set({ newest: event.target.checked ? "true" : "" })}
        />
        Newest first
      </label>
      {any && (
        <button
          type="button"
          className="quiet"
          onClick={() => {
            setBetween(false);
            setMoment(false);
            set(Object.fromEntries(FIELDS.map((name) => [name, ""])));
          }}
        >
          Clear filters
        </button>
      )}
    </fieldset>
  );
}

const isMoment = (value: string | null): boolean => !!value && /^\d{4}-/.test(value);

function Moment({
  label,
  value,
  onChange,
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
}) {
  return (
    <label className="choice">
      <span>{label}</span>
      <input
        type="datetime-local"
        value={isMoment(value) ? localValue(new Date(value)) : ""}
        max={localValue(new Date())}
        onChange={(event) =>
          onChange(event.target.value ? new Date(event.target.value).toISOString() : "")
        }
      />
    </label>
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
  set: Set;
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

function Hit({ hit, words }: { hit: SearchHit; words: string }) {
  const saved = savedPath(hit.saved_url);
  const title = hit.title || hit.author || siteName(hit) || hit.key;
  const head = hit.title ? (
    <Marked text={hit.title} spans={hit.title_highlights} />
  ) : (
    <Words>{title}</Words>
  );
  const exact = hit.highlights.length + hit.title_highlights.length > 0;
  return (
    <li>
      <p className="title">
        <a href={saved} target="_blank" rel="noopener">
          {head}
        </a>
      </p>
      {hit.withheld ? (
        <p className="facts">The source's terms do not allow showing its text.</p>
      ) : (
        <p className="snippet" dir="auto">
          <Marked text={hit.snippet} spans={hit.highlights} />
        </p>
      )}
      <p className="facts">
        <Words>{siteName(hit)}</Words>
        {hit.author && hit.author !== title && (
          <>
            {" · "}
            <Words>{hit.author}</Words>
          </>
        )}
        {" · "}
        <Time at={hit.published_at ?? hit.observed_at} />
        {!hit.published_at && " (seen; it carries no date)"} · {hit.kind}
        {hit.lang !== "und" && ` · ${languageName(hit.lang)}`}
        {hit.copies > 1 && ` · same copy ×${hit.copies}`}
        {words && !exact && !hit.withheld && " · close in meaning, none of the words"}
        {" · "}
        <a href={saved} target="_blank" rel="noopener">
          saved copy
        </a>
        {leadsOut(hit.url) && (
          <>
            {" · "}
            <Outward url={hit.url}>original</Outward>
          </>
        )}
        {hit.version > 1 && (
          <>
            {" · "}
            <a href={`/changes/${encodeURIComponent(hit.key)}?from=${hit.version - 1}`}>
              version {hit.version}: what changed
            </a>
          </>
        )}
      </p>
    </li>
  );
}
