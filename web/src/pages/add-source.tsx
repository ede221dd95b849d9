/** Following something new: an address, a handle, or a list of feeds. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../api/client";
import { counted } from "../ask/thread";
import { say } from "../ui/notices";
import { calm } from "../ui/text";
import { Trouble } from "../ui/trouble";

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
      </div>
      <p className="facts">
        A site finds its feed by itself. The address of an OPML list brings all its feeds.
      </p>
      {error !== null && <Trouble error={error} />}
    </form>
  );
}

function outcome({ name, title, added, known }: Added): string {
  if (!added) return `${calm(title || name || "It")} is followed now.`;
  const before = known ? `; ${known.toLocaleString()} were followed already` : "";
  return `${counted(added.length, "feed")} added${before}.`;
}
