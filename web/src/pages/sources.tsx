/** What is followed: how each source stands, and adding, pausing and removing. */
import { useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { call } from "../api/client";
import { useSources } from "../api/queries";
import type { SourceState } from "../api/types";
import { counted } from "../ask/thread";
import { say } from "../ui/notices";
import { calm, Words } from "../ui/text";
import { span, Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { AddSource } from "./add-source";
import { Head, Part, tell, useRemoval } from "./parts";
import { Rates, rateWords } from "./rate";
import { SourceEdit } from "./source-edit";

const TONES: Record<string, "good" | "some" | "bad"> = {
  live: "good",
  polling: "good",
  done: "good",
  starting: "some",
  paused: "some",
  retrying: "some",
  blocked: "bad",
  failed: "bad",
  gone: "bad",
};
const SHOWN = [
  ["all", "All"],
  ["well", "Well"],
  ["ill", "Need a look"],
] as const;
type Shown = (typeof SHOWN)[number][0];

const rates = new Rates();
const tone = (source: SourceState) => TONES[source.state] ?? "some";
const isWell = (source: SourceState) => tone(source) === "good";

export function SourcesPage() {
  const found = useSources();
  const [words, setWords] = useState("");
  const [shown, setShown] = useState<Shown>("all");
  const { hidden, remove } = useRemoval("sources");
  const all = useMemo(() => {
    const states = found.data?.sources ?? [];
    for (const state of states) rates.note(state.name, state.documents, found.dataUpdatedAt);
    return states;
  }, [found.data, found.dataUpdatedAt]);
  const left = all.filter((source) => !hidden.has(pathOf(source)));
  const ill = left.filter((source) => !isWell(source));
  const listed = left.filter(
    (source) => fits(source, words) && (shown === "all" || (shown === "well") === isWell(source)),
  );
  return (
    <div className="page">
      <Head
        title="Sources"
        about={
          found.data && (
            <>
              {counted(left.length, "source")},{" "}
              {ill.length ? `${ill.length} of them need a look` : "all of them well"}
            </>
          )
        }
      />
      <AddSource />
      <Part title="Followed">
        <div className="bar">
          <label className="sr" htmlFor="source-words">
            Filter the sources
          </label>
          <input
            id="source-words"
            type="search"
            placeholder="Filter by name or kind"
            value={words}
            onChange={(event) => setWords(event.target.value)}
          />
          <fieldset className="chips">
            <legend className="sr">Which to show</legend>
            {SHOWN.map(([value, name]) => (
              <button
                key={value}
                type="button"
                className="chip"
                aria-pressed={shown === value}
                onClick={() => setShown(value)}
              >
                {name}
                {value === "ill" && ` (${ill.length})`}
              </button>
            ))}
          </fieldset>
        </div>
        {found.error && !found.data && (
          <Trouble error={found.error} again={() => void found.refetch()} />
        )}
        {found.isPending && <Waiting rows={4} label="Looking at the sources" />}
        {found.data && !left.length && (
          <Empty title="No source is followed yet.">
            <p>
              Paste an address or a handle above; what it brings can be searched a second later.
            </p>
          </Empty>
        )}
        {!!left.length && !listed.length && (
          <Empty title={shown === "ill" ? "Every source is well." : "No source of that name."} />
        )}
        <ul className="rows">
          {listed.map((source) => (
            <Row key={source.name} source={source} onRemove={remove} />
          ))}
        </ul>
        {!!left.length && (
          <p className="facts">
            <a href="/v1/sources.opml" download>
              Export the feeds as OPML
            </a>
          </p>
        )}
      </Part>
    </div>
  );
}

const pathOf = (source: SourceState): string => `/v1/sources/${encodeURIComponent(source.name)}`;

function fits(source: SourceState, words: string): boolean {
  const text = `${source.title} ${source.name} ${source.type} ${source.state}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

function Row({
  source,
  onRemove,
}: {
  source: SourceState;
  onRemove: (path: string, text: string) => void;
}) {
  const client = useQueryClient();
  const title = calm(source.title || source.name);
  const [editing, setEditing] = useState(false);
  const paused = source.state === "paused";
  const turn = async (deed: "pause" | "resume") => {
    try {
      await call(`${pathOf(source)}/${deed}`, { method: "POST" });
      await client.invalidateQueries({ queryKey: ["sources"] });
      say(deed === "pause" ? `${title} is paused.` : `${title} is followed again.`);
    } catch (error) {
      tell(error);
    }
  };
  const rate = rateWords(rates.perMinute(source.name));
  return (
    <li className={`item ${tone(source)}`}>
      <span className="dot" aria-hidden="true" />
      <div>
        <p className="title">
          <Words>{title}</Words> <span className="tag">{source.type}</span>
        </p>
        <p className={tone(source) === "bad" ? "ill-words" : "facts"}>
          <Words>{source.text || source.state}</Words>
        </p>
        <ul className="facts row-facts">
          <li>
            newest{" "}
            {source.last_document_at ? (
              <Time at={source.last_document_at} form="ago" />
            ) : (
              "none yet"
            )}
          </li>
          {source.lag_s !== null && source.lag_s !== undefined && (
            <li title="How long after publishing the newest document was seen">
              lag {span(source.lag_s)}
            </li>
          )}
          <li>{counted(source.documents ?? 0, "document")}</li>
          {rate && <li title="Since this page has been watching, at most ten minutes">{rate}</li>}
          {!!source.errors && <li className="some-words">{counted(source.errors, "error")}</li>}
          {typeof source.reliability === "number" && (
            <li>believed to {Math.round(source.reliability * 100)} %</li>
          )}
          {source.title && source.title !== source.name && (
            <li>
              <code>{calm(source.name)}</code>
            </li>
          )}
        </ul>
      </div>
      <div className="deeds">
        <button
          type="button"
          className="quiet"
          onClick={() => setEditing(true)}
          aria-label={`Change ${title}`}
        >
          Change
        </button>
        <button
          type="button"
          className="quiet"
          onClick={() => void turn(paused ? "resume" : "pause")}
          aria-label={`${paused ? "Resume" : "Pause"} ${title}`}
        >
          {paused ? "Resume" : "Pause"}
        </button>
        <button
          type="button"
          className="quiet"
          onClick={() =>
            onRemove(pathOf(source), `${title} is no longer followed. What it brought stays.`)
          }
          aria-label={`Remove ${title}`}
        >
          Remove
        </button>
      </div>
      {editing && <SourceEdit source={source} onClose={() => setEditing(false)} />}
    </li>
  );
}
