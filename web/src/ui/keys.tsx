/** Keyboard shortcuts, the list of them, and the command palette. */
import { Command } from "cmdk";
import { useEffect, useRef, useState } from "react";
import { useLocation } from "wouter";
import { useThreads } from "../api/queries";
import { newTalk } from "../ask/thread";
import { say } from "./notices";
import { turnTheme } from "./theme";

interface Action {
  name: string;
  keys?: string;
  run: (go: (path: string) => void) => void;
}

const ACTIONS: Action[] = [
  {
    name: "Ask something new",
    keys: "n",
    run: (go) => {
      newTalk();
      go("/");
    },
  },
  { name: "Go to Now", keys: "g n", run: (go) => go("/") },
  { name: "Go to Search", keys: "g s", run: (go) => go("/search") },
  { name: "Go to Conversations", keys: "g c", run: (go) => go("/threads") },
  { name: "Go to Sources", keys: "g o", run: (go) => go("/sources") },
  { name: "Go to Watches", keys: "g w", run: (go) => go("/watches") },
  { name: "Go to Models and runs", keys: "g m", run: (go) => go("/models") },
  { name: "Go to Settings", keys: "g ,", run: (go) => go("/settings") },
  { name: "Change between dark and light", keys: "t", run: () => say(`Theme: ${turnTheme()}.`) },
  { name: "Put the cursor into the box", keys: "/", run: () => focusBox() },
];

function focusBox(): void {
  document.querySelector<HTMLElement>("main textarea, main input[type=search]")?.focus();
}

const inField = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");

/** Listens for shortcuts; holds the palette and the list of shortcuts. */
export function Keys() {
  const [, go] = useLocation();
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const first = useRef("");
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setPalette((open) => !open);
        return;
      }
      if (event.metaKey || event.ctrlKey || event.altKey || inField(event.target)) return;
      if (event.key === "?") {
        setHelp(true);
        return;
      }
      const keys = first.current ? `${first.current} ${event.key}` : event.key;
      first.current = !first.current && event.key === "g" ? "g" : "";
      const action = ACTIONS.find((each) => each.keys === keys);
      if (!action) return;
      event.preventDefault();
      action.run(go);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [go]);
  return (
    <>
      <Dialog open={palette} onClose={() => setPalette(false)} label="Commands">
        <Palette go={go} done={() => setPalette(false)} />
      </Dialog>
      <Dialog open={help} onClose={() => setHelp(false)} label="Shortcuts">
        <h2>Shortcuts</h2>
        <dl className="shortcuts">
          {[
            ["Commands and conversations", "Ctrl K"],
            ["Send the question", "Enter"],
            ["New line in the box", "Shift Enter"],
            ["This list", "?"],
            ...ACTIONS.map((each) => [each.name, each.keys ?? ""]),
          ].map(([name = "", keys = ""]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                {keys.split(" ").map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dd>
            </div>
          ))}
        </dl>
      </Dialog>
    </>
  );
}

function Palette({ go, done }: { go: (path: string) => void; done: () => void }) {
  const threads = useThreads("", null);
  const run = (act: () => void) => () => {
    done();
    act();
  };
  return (
    <Command label="Commands and conversations" loop>
      <Command.Input placeholder="What do you want to do?" />
      <Command.List>
        <Command.Empty>Nothing of that name.</Command.Empty>
        <Command.Group heading="Commands">
          {ACTIONS.map((action) => (
            <Command.Item
              key={action.name}
              value={action.name}
              onSelect={run(() => action.run(go))}
            >
              {action.name}
              {action.keys && <kbd>{action.keys}</kbd>}
            </Command.Item>
          ))}
        </Command.Group>
        <Command.Group heading="Conversations">
          {threads.data?.threads.slice(0, 20).map((thread) => (
            <Command.Item
              key={thread.id}
              value={`${thread.title} ${thread.id}`}
              onSelect={run(() => go(`/c/${thread.id}`))}
            >
              {thread.title}
            </Command.Item>
          ))}
        </Command.Group>
      </Command.List>
    </Command>
  );
}

interface DialogProps {
  open: boolean;
  onClose: () => void;
  label: string;
  children: React.ReactNode;
}

/** The browser's own modal dialog: keeps the focus, closes with Escape or a click beside it. */
export function Dialog({ open, onClose, label, children }: DialogProps) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!open) {
      box.current?.close();
      return;
    }
    box.current?.showModal();
    box.current?.querySelector<HTMLElement>("input")?.focus();
  }, [open]);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the keyboard closes it with Escape
    <dialog
      ref={box}
      aria-label={label}
      onClose={onClose}
      onClick={(event) => event.target === box.current && onClose()}
    >
      {open && <div className="inside">{children}</div>}
    </dialog>
  );
}
