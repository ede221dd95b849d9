/** What can be done with a conversation from the list. */
import { Popover } from "radix-ui";
import { useState } from "react";
import { call } from "../api/client";
import type { Conversation } from "../api/types";
import { calm } from "../ui/text";
import { copy, tell } from "./parts";

interface NameProps {
  thread: Conversation;
  changed: () => Promise<unknown>;
  done: () => void;
}

/** The title as a field, in its place. */
export function ThreadName({ thread, changed, done }: NameProps) {
  const [title, setTitle] = useState(thread.title);
  const save = async () => {
    const next = title.trim();
    try {
      if (next && next !== thread.title) {
        await call(`/v1/threads/${thread.id}`, { method: "PATCH", body: { title: next } });
        await changed();
      }
      done();
    } catch (error) {
      tell(error);
    }
  };
  return (
    <form
      className="inline"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <input
        aria-label="Title"
        value={title}
        maxLength={200}
        // biome-ignore lint/a11y/noAutofocus: it replaces the button that was pressed
        autoFocus
        onFocus={(event) => event.target.select()}
        onChange={(event) => setTitle(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && done()}
      />
      <button type="submit" className="quiet">
        Save
      </button>
      <button type="button" className="quiet" onClick={done}>
        Cancel
      </button>
    </form>
  );
}

interface MenuProps {
  thread: Conversation;
  folders: string[];
  changed: () => Promise<unknown>;
  onRename: () => void;
  onDelete: () => void;
}

export function ThreadMenu({ thread, folders, changed, onRename, onDelete }: MenuProps) {
  const [open, setOpen] = useState(false);
  const path = `/v1/threads/${thread.id}`;
  const then = (act: () => void) => () => {
    setOpen(false);
    act();
  };
  const share = async () => {
    try {
      const { share_url } = await call<Conversation>(`${path}/share`, { method: "POST" });
      copy(
        `${location.origin}/s/${share_url?.split("/").pop()}`,
        "Copied: anybody with this address can read the conversation, later answers included.",
      );
      await changed();
    } catch (error) {
      tell(error);
    }
  };
  const unshare = () => {
    call(`${path}/share`, { method: "DELETE" }).then(changed).catch(tell);
  };
  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger asChild>
        <button
          type="button"
          className="quiet"
          aria-label={`What to do with ${calm(thread.title)}`}
        >
          ⋯
        </button>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="card menu"
          align="end"
          sideOffset={6}
          collisionPadding={10}
          aria-label="What to do with it"
        >
          <button type="button" onClick={then(onRename)}>
            Rename
          </button>
          <button type="button" onClick={then(() => void share())}>
            {thread.share_url ? "Copy the shared address" : "Share"}
          </button>
          {thread.share_url && (
            <button type="button" onClick={then(unshare)}>
              Stop sharing
            </button>
          )}
          <a href={`${path}/export`} download onClick={() => setOpen(false)}>
            Export as Markdown
          </a>
          <a href={`${path}/export?format=json`} download onClick={() => setOpen(false)}>
            Export as JSON
          </a>
          <button type="button" onClick={then(onDelete)}>
            Delete
          </button>
          <Mover
            thread={thread}
            folders={folders}
            changed={async () => {
              setOpen(false);
              await changed();
            }}
          />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

function Mover({
  thread,
  folders,
  changed,
}: {
  thread: Conversation;
  folders: string[];
  changed: () => Promise<unknown>;
}) {
  const [folder, setFolder] = useState(thread.folder);
  const move = (to: string) => {
    call(`/v1/threads/${thread.id}`, { method: "PATCH", body: { folder: to.trim() } })
      .then(changed)
      .catch(tell);
  };
  return (
    <form
      className="inline"
      onSubmit={(event) => {
        event.preventDefault();
        move(folder);
      }}
    >
      <label>
        Folder
        <input
          value={folder}
          list="folders"
          maxLength={100}
          placeholder="none"
          onChange={(event) => setFolder(event.target.value)}
        />
      </label>
      <datalist id="folders">
        {folders.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <button type="submit" className="quiet">
        Move
      </button>
      {thread.folder && (
        <button type="button" className="quiet" onClick={() => move("")}>
          Take out
        </button>
      )}
    </form>
  );
}
