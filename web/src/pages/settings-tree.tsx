/** How the server is set: made from what it says about each of its settings. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useId, useState } from "react";
import { call } from "../api/client";
import { useSession } from "../api/queries";
import { counted } from "../ask/thread";
import { say, undoable } from "../ui/notices";
import { Words } from "../ui/text";
import { Trouble, Waiting } from "../ui/trouble";
import { Part, tell } from "./parts";
import { draftOf, meant, type Setting, type Value, worded } from "./settings-values";

interface Tree {
  file: string;
  problem: string;
  sections: { name: string; title: string }[];
  settings: Setting[];
}

const KEY = ["settings"];

export function SettingsTree() {
  const session = useSession();
  const admin = session.data && (!session.data.sign_in_needed || session.data.role === "admin");
  if (!session.data) return null;
  return (
    <Part title="How this server is set">
      {admin ? <Sections /> : <p className="facts">Admins see and change its settings.</p>}
    </Part>
  );
}

function Sections() {
  const [words, setWords] = useState("");
  const id = useId();
  const { data, error } = useQuery({
    queryKey: KEY,
    queryFn: () => call<Tree>("/v1/settings"),
    retry: false,
  });
  if (error) return <Trouble error={error} />;
  if (!data) return <Waiting rows={3} label="Reading the settings" />;
  const found = data.settings.filter((each) => fits(each, words));
  const waiting = data.settings.filter((each) => each.pending).length;
  const groups = [{ name: "", title: "The server as a whole" }, ...data.sections]
    .map((section) => ({
      ...section,
      rows: found.filter((each) => sectionOf(each.name) === section.name),
    }))
    .filter((section) => section.rows.length > 0);
  return (
    <>
      <p className="facts">
        Changes are written to{" "}
        <code>
          <Words>{data.file}</Words>
        </code>{" "}
        and count when Gnomon is started again.
      </p>
      {data.problem && (
        <p className="trouble" role="alert">
          <Words>{data.problem}</Words>
        </p>
      )}
      <p className="facts" role="status">
        {waiting > 0 && `${counted(waiting, "change")} waiting for a restart.`}
      </p>
      <div className="find">
        <label className="sr" htmlFor={id}>
          Find a setting
        </label>
        <input
          id={id}
          type="search"
          value={words}
          placeholder="Find a setting"
          autoComplete="off"
          onChange={(event) => setWords(event.target.value)}
        />
      </div>
      <p className="sr" role="status">
        {words.trim() && `${counted(found.length, "setting")} found`}
      </p>
      {groups.length === 0 && <p className="facts">No setting has these words.</p>}
      <div className="settings">
        {groups.map((section) => (
          <details key={`${section.name}${words.trim() ? "?" : ""}`} open={Boolean(words.trim())}>
            <summary>
              <Words>{section.title}</Words> <span className="facts">{section.rows.length}</span>
            </summary>
            {section.rows.map((each) => (
              <Row key={each.name} setting={each} />
            ))}
          </details>
        ))}
      </div>
    </>
  );
}

function Row({ setting }: { setting: Setting }) {
  const client = useQueryClient();
  const id = useId();
  const stored = draftOf(setting);
  const [draft, setDraft] = useState(stored);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => setDraft(stored), [stored]);
  const own = setting.origin !== "default" || (setting.secret && setting.set);
  const locked = setting.refusal !== "";
  const write = async (value: Value) => {
    client.setQueryData(
      KEY,
      await call<Tree>("/v1/settings", { method: "PATCH", body: { [setting.name]: value } }),
    );
  };
  const change = async (value: Value) => {
    setBusy(true);
    setError(null);
    try {
      await write(value);
      if (setting.secret) setDraft("");
      // The button that was pressed is gone now; the keyboard goes on from the field.
      document.getElementById(id)?.focus();
      const then = `${setting.name} is changed from the next start.`;
      const before = setting.origin === "default" ? null : (setting.next ?? null);
      // A secret cannot be brought back: nobody but the server knew the earlier one.
      if (setting.secret) say(then);
      else
        undoable(
          then,
          () => {},
          () => void write(before).catch(tell),
        );
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  const save = (event: FormEvent) => {
    event.preventDefault();
    if (!busy) void change(meant(setting, draft));
  };
  return (
    <form className="setting" onSubmit={save}>
      <div>
        <label htmlFor={id}>
          <code>{setting.name}</code>
        </label>
        <p id={`${id}-about`}>
          {setting.description.replace(/`/g, "")} <Facts setting={setting} />
        </p>
      </div>
      <div className="chips">
        <Field
          id={id}
          setting={setting}
          draft={draft}
          locked={locked}
          onChange={(value) => {
            setDraft(value);
            setError(null);
          }}
        />
        {!locked && draft !== stored && (
          <button
            type="submit"
            className="primary"
            disabled={busy}
            aria-label={`Save ${setting.name}`}
          >
            Save
          </button>
        )}
        {!locked && own && (
          <button
            type="button"
            className="quiet"
            disabled={busy}
            aria-label={`${setting.secret ? "Drop" : "Default for"} ${setting.name}`}
            onClick={() => void change(null)}
          >
            {setting.secret ? "Drop" : "Default"}
          </button>
        )}
      </div>
      {error !== null && <Trouble error={error} />}
    </form>
  );
}

function Facts({ setting }: { setting: Setting }) {
  const { origin, refusal, pending, secret } = setting;
  return (
    <span className="facts">
      {!secret && `Default: ${worded(setting.default)}. `}
      {refusal ? (
        <Words>{refusal}</Words>
      ) : (
        origin !== "default" && <Words>{`Set in ${origin.replace(/^file /, "")}.`}</Words>
      )}
      {pending && (
        <strong>
          {" "}
          Needs a restart
          {secret ? "" : `; ${worded(setting.value)} until then`}.
        </strong>
      )}
    </span>
  );
}

interface FieldProps {
  id: string;
  setting: Setting;
  draft: string;
  locked: boolean;
  onChange: (draft: string) => void;
}

function Field({ id, setting, draft, locked, onChange }: FieldProps) {
  const { schema, secret } = setting;
  const shared = { id, disabled: locked, "aria-describedby": `${id}-about` };
  if (schema.type === "boolean")
    return (
      <input
        {...shared}
        type="checkbox"
        checked={draft === "true"}
        onChange={(event) => onChange(String(event.target.checked))}
      />
    );
  if (schema.enum)
    return (
      <select {...shared} value={draft} onChange={(event) => onChange(event.target.value)}>
        {schema.enum.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
    );
  const number = schema.type === "integer" || schema.type === "number";
  return (
    <input
      {...shared}
      type={secret ? "password" : number ? "number" : "text"}
      value={draft}
      placeholder={placeholder(setting)}
      min={schema.minimum ?? schema.exclusiveMinimum}
      max={schema.maximum ?? schema.exclusiveMaximum}
      step={schema.type === "integer" ? 1 : "any"}
      required={number && !setting.nullable}
      autoComplete={secret ? "new-password" : "off"}
      spellCheck={false}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

function placeholder({ schema, secret, set }: Setting): string {
  if (secret) return set ? "set; type to replace it" : "not set";
  return schema.type === "array" ? "none; separate with commas" : "none";
}

const sectionOf = (name: string) => (name.includes(".") ? (name.split(".")[0] ?? "") : "");

function fits({ name, description }: Setting, words: string): boolean {
  const text = `${name} ${name.replace(/[._]/g, " ")} ${description}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
