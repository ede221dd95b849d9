/** Following something new: an address, a handle, or a list of feeds. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../api/client";
import { counted } from "../ask/thread";
import { say } from "../ui/notices";
import { calm } from "../ui/text";
import { Trouble } from "../ui/trouble";
import { feedsOf, followAll, type Outcome } from "./opml";
import { Preview, type Recognised } from "./recognised";

interface Added {
  name?: string;
  title?: string;
  added?: string[];
  known?: number;
}

export function AddSource() {
  const client = useQueryClient();
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [found, setFound] = useState<{ text: string; said: Recognised } | null>(null);
  const look = async () => {
    setBusy(true);
    setError(null);
    try {
      const asked = { text: text.trim() };
      setFound({ text, said: await call("/v1/sources/recognise", { body: asked }) });
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  const follow = async () => {
    setBusy(true);
    setError(null);
    try {
      say(outcome(await call<Added>("/v1/sources", { body: { text: text.trim() } })));
      setText("");
      await client.invalidateQueries({ queryKey: ["sources"] });
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      className="add"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() && !busy) void follow();
      }}
    >
      <div className="find">
        <label className="sr" htmlFor="new-source">
          What to follow
        </label>
        <input
          id="new-source"
          type="text"
          value={text}
          placeholder="Paste a web address, a feed, or a handle"
          maxLength={2_000}
          autoComplete="off"
          spellCheck={false}
          onChange={(event) => setText(event.target.value)}
        />
        <button type="submit" className="primary" disabled={!text.trim() || busy}>
          {busy ? "Looking…" : "Follow"}
        </button>
        <button
          type="button"
          className="quiet"
          disabled={!text.trim() || busy}
          onClick={() => void look()}
        >
          Look first
        </button>
      </div>
      <div className="facts">
        A site finds its feed by itself. The address of an OPML list brings all its feeds; so does{" "}
        <OpmlFile onError={setError} />
      </div>
      {found?.text === text && <Preview found={found.said} />}
      {error !== null && <Trouble error={error} />}
    </form>
  );
}

/** A list from another reader, read in the browser. */
function OpmlFile({ onError }: { onError: (error: unknown) => void }) {
  const client = useQueryClient();
  const [progress, setProgress] = useState<[done: number, all: number] | null>(null);
  const [failed, setFailed] = useState<Outcome["failed"]>([]);
  const take = async (file: File) => {
    onError(null);
    setFailed([]);
    try {
      const feeds = feedsOf(await file.text());
      setProgress([0, feeds.length]);
      const done = await followAll(feeds, (count) => setProgress([count, feeds.length]));
      say(
        outcome({ added: Array.from({ length: done.added }, () => ""), known: done.known }) +
          (done.failed.length ? ` ${counted(done.failed.length, "feed")} could not be added.` : ""),
        done.failed.length > 0,
      );
      setFailed(done.failed);
    } catch (error) {
      onError(error);
    } finally {
      setProgress(null);
      await client.invalidateQueries({ queryKey: ["sources"] });
    }
  };
  return (
    <>
      <label className="file">
        {progress ? `adding ${progress[0]} of ${progress[1]} feeds…` : "an OPML file from here"}
        <input
          type="file"
          accept=".opml,.xml,text/xml,text/x-opml"
          disabled={progress !== null}
          onChange={(event) => {
            const [file] = event.target.files ?? [];
            if (file) void take(file);
            event.target.value = "";
          }}
        />
      </label>
      .
      {failed.length > 0 && (
        <details>
          <summary>{counted(failed.length, "feed")} could not be added</summary>
          <ul>
            {failed.map(({ feed, reason }) => (
              <li key={feed.url}>
                {calm(feed.title || feed.url)}: {calm(reason)}
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function outcome({ name, title, added, known }: Added): string {
  if (!added) return `${calm(title || name || "It")} is followed now.`;
  const before = known ? `; ${known.toLocaleString()} were followed already` : "";
  return `${counted(added.length, "feed")} added${before}.`;
}
