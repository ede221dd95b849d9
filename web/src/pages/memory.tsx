/** What one asked to be remembered: seen, changed, forgotten, let rest. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { call, Problem } from "../api/client";
import { calm, Words } from "../ui/text";
import { Time } from "../ui/time";
import { Trouble, Waiting } from "../ui/trouble";
import { Part, tell, useRemoval } from "./parts";

interface Note {
  id: string;
  text: string;
  created_at: string;
  updated_at: string;
}
interface Memory {
  on: boolean;
  notes: Note[];
}

const pathOf = (note: Note): string => `/v1/memory/${encodeURIComponent(note.id)}`;

export function MemoryPart() {
  const client = useQueryClient();
  const { hidden, remove } = useRemoval("memory");
  const found = useQuery({
    queryKey: ["memory"],
    queryFn: () => call<Memory>("/v1/memory"),
    retry: false,
  });
  const changed = () => client.invalidateQueries({ queryKey: ["memory"] });
  // A server that remembers nothing has nothing to show.
  if (found.error instanceof Problem && found.error.status === 404) return null;
  const { data } = found;
  const all = hidden.has("/v1/memory");
  const notes = data?.notes.filter((note) => !all && !hidden.has(pathOf(note)));
  const turn = (on: boolean) => {
    call("/v1/memory/settings", { method: "PUT", body: { on } }).then(changed).catch(tell);
  };
  return (
    <Part
      title="Memory"
      about="Wishes that go with each of your questions. They are never evidence, and nobody else sees them."
    >
      {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
      {found.isPending && <Waiting rows={1} label="Looking what is remembered" />}
      {data && (
        <label className="tick">
          <input
            type="checkbox"
            checked={data.on}
            onChange={(event) => turn(event.target.checked)}
          />
          Use what is remembered
        </label>
      )}
      {data && !data.on && (
        <p className="facts">It is off: nothing is used, and nothing new is kept.</p>
      )}
      <ul className="rows plain memory">
        {notes?.map((note) => (
          <Line
            key={note.id}
            note={note}
            changed={changed}
            onForget={() => remove(pathOf(note), `“${calm(note.text)}” is forgotten.`)}
          />
        ))}
      </ul>
      {data?.on && <Add changed={changed} />}
      {!!notes?.length && (
        <p>
          <button
            type="button"
            className="quiet"
            onClick={() => remove("/v1/memory", "Everything is forgotten, and memory is off.")}
          >
            Forget everything
          </button>
        </p>
      )}
    </Part>
  );
}

function Line({
  note,
  changed,
  onForget,
}: {
  note: Note;
  changed: () => Promise<unknown>;
  onForget: () => void;
}) {
  const [editing, setEditing] = useState(false);
  const save = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget).get("text")).trim();
    try {
      if (text && text !== note.text) {
        await call(pathOf(note), { method: "PATCH", body: { text } });
        await changed();
      }
      setEditing(false);
    } catch (error) {
      tell(error);
    }
  };
  return (
    <li className="item">
      {editing ? (
        <form className="inline" onSubmit={(event) => void save(event)}>
          <input
            name="text"
            aria-label="Note"
            defaultValue={note.text}
            // biome-ignore lint/a11y/noAutofocus: it replaces the button that was pressed
            autoFocus
            onKeyDown={(event) => event.key === "Escape" && setEditing(false)}
          />
          <button type="submit" className="quiet">
            Save
          </button>
          <button type="button" className="quiet" onClick={() => setEditing(false)}>
            Cancel
          </button>
        </form>
      ) : (
        <div>
          <p>
            <Words>{note.text}</Words>
          </p>
          <p className="facts">
            since <Time at={note.created_at} />
          </p>
        </div>
      )}
      {!editing && (
        <div className="deeds">
          <button
            type="button"
            className="quiet"
            onClick={() => setEditing(true)}
            aria-label={`Edit: ${calm(note.text)}`}
          >
            Edit
          </button>
          <button
            type="button"
            className="quiet"
            onClick={onForget}
            aria-label={`Forget: ${calm(note.text)}`}
          >
            Forget
          </button>
        </div>
      )}
    </li>
  );
}

function Add({ changed }: { changed: () => Promise<unknown> }) {
  const add = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const text = String(new FormData(form).get("text")).trim();
    if (!text) return;
    try {
      await call("/v1/memory", { body: { text } });
      form.reset();
      await changed();
    } catch (error) {
      tell(error);
    }
  };
  return (
    <form className="inline" onSubmit={(event) => void add(event)} autoComplete="off">
      <input name="text" aria-label="Something to remember" placeholder="Answer me in German" />
      <button type="submit" className="quiet">
        Remember
      </button>
    </form>
  );
}
