/** What the pages beside the conversation have in common. */
import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useId, useSyncExternalStore } from "react";
import { call, problemOf } from "../api/client";
import { say, undoable } from "../ui/notices";

/** The one heading of a page, what it is about, and what can be done at once. */
export function Head({
  title,
  about,
  children,
}: {
  title: string;
  about?: ReactNode;
  children?: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · Gnomon`;
    return () => {
      document.title = "Gnomon";
    };
  }, [title]);
  return (
    <header className="page-head">
      <div>
        <h1 dir="auto">{title}</h1>
        {about && <p className="facts">{about}</p>}
      </div>
      {children && <div className="chips">{children}</div>}
    </header>
  );
}

/** A part of a page under its own heading. */
export function Part({
  title,
  children,
  about,
}: {
  title: string;
  children: ReactNode;
  about?: ReactNode;
}) {
  const id = useId();
  return (
    <section className="part" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {about && <p className="facts">{about}</p>}
      {children}
    </section>
  );
}

/** A choice among few, by its label. */
export function Choice({
  label,
  value,
  options,
  onChange,
  hidden,
}: {
  label: string;
  value: string;
  options: readonly (readonly [value: string, words: string])[];
  onChange: (value: string) => void;
  hidden?: boolean;
}) {
  const known = options.some(([each]) => each === value);
  return (
    <label className="choice">
      <span className={hidden ? "sr" : ""}>{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {!known && <option value={value}>{value}</option>}
        {options.map(([each, words]) => (
          <option key={each} value={each}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Into the clipboard, and say so. */
export function copy(text: string, done: string): void {
  navigator.clipboard.writeText(text).then(
    () => say(done),
    () => say("The browser did not allow copying. Select the text and copy it by hand.", true),
  );
}

/** Say what went wrong, with the next step. */
export function tell(error: unknown): void {
  const { message, hint } = problemOf(error);
  say(hint ? `${message} ${hint}` : message, true);
}

let gone: ReadonlySet<string> = new Set();
const listeners = new Set<() => void>();

function setGone(path: string, is: boolean): void {
  const next = new Set(gone);
  if (is) next.add(path);
  else next.delete(path);
  gone = next;
  for (const listener of listeners) listener();
}

/** Taking things away: from the view at once, from the server when nobody has undone it. */
export function useRemoval(...queryKey: string[]) {
  const client = useQueryClient();
  const hidden = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => gone,
  );
  const remove = (path: string, text: string) => {
    setGone(path, true);
    undoable(
      text,
      () => {
        call(path, { method: "DELETE", keepalive: true })
          .then(() => client.invalidateQueries({ queryKey }))
          .catch(tell)
          .finally(() => setGone(path, false));
      },
      () => setGone(path, false),
    );
  };
  return { hidden, remove };
}

/** "de" as "German"; codes that nobody named stay as they are. */
export function languageName(code: string): string {
  if (!code || code === "und") return "language unknown";
  try {
    return languages.of(code) ?? code;
  } catch {
    return code;
  }
}

const languages = new Intl.DisplayNames(undefined, { type: "language" });
