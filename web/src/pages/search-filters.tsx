/** Narrowing a search: by time, kind, source and language. */
import { useState } from "react";
import { useSources } from "../api/queries";
import { calm } from "../ui/text";
import { localValue } from "../ui/time";
import { Choice, languageName } from "./parts";

const KINDS: [string, string][] = [
  ["", "Anything"],
  ["article", "Articles"],
  ["page", "Pages"],
  ["post", "Posts"],
  ["comment", "Comments"],
  ["alert", "Alerts"],
  ["paper", "Papers"],
  ["release", "Releases"],
  ["edit", "Edits of wikis"],
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
export const FIELDS = ["since", "until", "as_of", "kind", "source", "lang", "newest"] as const;
type Field = "q" | (typeof FIELDS)[number];
export type Narrow = (changes: Partial<Record<Field, string>>) => void;

export function Filters({ parameters, set }: { parameters: URLSearchParams; set: Narrow }) {
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
