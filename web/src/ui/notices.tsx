/** Short notices at the edge of the page, and undo instead of "are you sure?". */
import { useSyncExternalStore } from "react";

interface Notice {
  id: number;
  text: string;
  undo?: () => void;
  bad: boolean;
}

let notices: readonly Notice[] = [];
let last = 0;
const listeners = new Set<() => void>();
const timers = new Map<number, { timer: number; end: () => void }>();
const SHOWN_MS = 6_000;

function change(next: readonly Notice[]): void {
  notices = next;
  for (const listener of listeners) listener();
}

function drop(id: number): void {
  const entry = timers.get(id);
  window.clearTimeout(entry?.timer);
  timers.delete(id);
  change(notices.filter((notice) => notice.id !== id));
}

function show(notice: Omit<Notice, "id">, end: () => void): void {
  const id = ++last;
  change([...notices.slice(-2), { ...notice, id }]);
  const finish = () => {
    drop(id);
    end();
  };
  timers.set(id, { timer: window.setTimeout(finish, SHOWN_MS), end: finish });
}

/** Say something that needs no answer. */
export function say(text: string, bad = false): void {
  show({ text, bad }, () => {});
}

/** Do something a few seconds from now, unless the reader takes it back. */
export function undoable(text: string, act: () => void, undo: () => void): void {
  let open = true;
  show(
    {
      text,
      bad: false,
      undo: () => {
        open = false;
        undo();
      },
    },
    () => {
      if (open) act();
      open = false;
    },
  );
}

// Whoever leaves the page has not taken it back.
window.addEventListener("pagehide", () => {
  for (const { end } of [...timers.values()]) end();
});

/** Where notices appear. */
export function Notices() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => notices,
  );
  return (
    <div className="notices" role="status" aria-live="polite">
      {shown.map((notice) => (
        <p key={notice.id} className={notice.bad ? "bad" : ""}>
          {notice.text}
          {notice.undo && (
            <button
              type="button"
              onClick={() => {
                notice.undo?.();
                drop(notice.id);
              }}
            >
              Undo
            </button>
          )}
        </p>
      ))}
    </div>
  );
}
