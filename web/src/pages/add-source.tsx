/** Following something new: an address, a handle, or a list of feeds. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../api/client";
import { counted } from "../ask/thread";
import { say } from "../ui/notices";
import { calm } from "../ui/text";
import { Trouble } from "../ui/trouble";
import { type Feed, feedsOf, followAll, type Outcome } from "./opml";
import { Preview, type Recognised } from "./recognised";
import { secretsIn } from "./secrets";

interface Added {
  name?: string;
  title?: string;
  added?: string[];
  known?: number;
}

const recognised = (text: string): Promise<Recognised> =>
  call("/v1/sources/recognise", { body: { text: text.trim() } });

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
      setFound({ text, said: await recognised(text) });
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  const follow = async (form: HTMLFormElement) => {
    setBusy(true);
    setError(null);
    try {
      const settings = secretsIn(form);
      say(outcome(await call<Added>("/v1/sources", { body: { text: text.trim(), settings } })));
      setText("");
      setFound(null);
      await client.invalidateQueries({ queryKey: ["sources"] });
    } catch (problem) {
      setError(problem);
      // Perhaps it needs a key: then there is a field to enter it.
      await recognised(text).then(
        (said) => setFound({ text, said }),
        () => setFound(null),
      );
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      className="add"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() && !busy) void follow(event.currentTarget);
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
      {found?.text === text && <Preview found={found.said} enter />}
      {error !== null && <Trouble error={error} />}
    </form>
  );
}

/** A list from another reader, read in the browser. */
function OpmlFile({ onError }: { onError: (error: unknown) => void }) {
  const client = useQueryClient();
  const [progress, setProgress] = useState<[done: number, all: number] | null>(null);
  const [failed, setFailed] = useState<Outcome["failed"]>([]);
  const [chosen, setChosen] = useState<{ feeds: Feed[]; said: Recognised } | null>(null);
  const open = async (file: File) => {
    onError(null);
    setFailed([]);
    setChosen(null);
    try {
      const text = await file.text();
      setChosen({ feeds: feedsOf(text), said: await recognised(text) });
    } catch (error) {
      onError(error);
    }
  };
  const take = async (feeds: readonly Feed[]) => {
    onError(null);
    setProgress([0, feeds.length]);
    try {
      const done = await followAll(feeds, (count) => setProgress([count, feeds.length]));
      say(
        outcome({ added: Array.from({ length: done.added }, () => ""), known: done.known }) +
          (done.failed.length ? ` ${counted(done.failed.length, "feed")} could not be added.` : ""),
        done.failed.length > 0,
      );
      setFailed(done.failed);
      setChosen(null);
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
        an OPML file from here
        <input
          type="file"
          accept=".opml,.xml,text/xml,text/x-opml"
          disabled={progress !== null}
          onChange={(event) => {
            const [file] = event.target.files ?? [];
            if (file) void open(file);
            event.target.value = "";
          }}
        />
      </label>
      .
      {chosen && (
        <>
          <Preview found={chosen.said} />
          <p className="chips">
            <button
              type="button"
              className="primary"
              disabled={progress !== null}
              onClick={() => void take(chosen.feeds)}
            >
              {progress
                ? `Adding ${progress[0]} of ${progress[1]}…`
                : `Follow ${counted(chosen.feeds.length, "feed")}`}
            </button>
            <button
              type="button"
              className="quiet"
              disabled={progress !== null}
              onClick={() => setChosen(null)}
            >
              Cancel
            </button>
          </p>
        </>
      )}
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
