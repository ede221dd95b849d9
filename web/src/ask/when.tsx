/** The time control: now, a moment, or a range. */
import { Popover } from "radix-ui";
import { useState } from "react";
import { localValue, said } from "../ui/time";
import { NOW, type When } from "./asked";

const AGES: [string, number][] = [
  ["1 h ago", 3_600],
  ["6 h ago", 21_600],
  ["24 h ago", 86_400],
  ["48 h ago", 172_800],
  ["7 days ago", 604_800],
];
const RANGES: [string, number][] = [
  ["Last 24 h", 86_400],
  ["Last 7 days", 604_800],
  ["Last 30 days", 2_592_000],
];

/** What a time is called on its button. */
export function whenWords(when: When): string {
  if (when.kind === "now") return "Now";
  if (when.kind === "moment") return `As of ${said(new Date(when.at))}`;
  return `${said(new Date(when.since))} to ${said(new Date(when.until))}`;
}

export function WhenPicker({ when, onChange }: { when: When; onChange: (when: When) => void }) {
  const [open, setOpen] = useState(false);
  const pick = (next: When) => {
    onChange(next);
    setOpen(false);
  };
  const before = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger asChild>
        <button type="button" className={`when-button ${when.kind === "now" ? "" : "past"}`}>
          <span aria-hidden="true">◷ </span>
          {whenWords(when)}
        </button>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="card when-card"
          align="start"
          sideOffset={6}
          collisionPadding={10}
          aria-label="When"
        >
          <button
            type="button"
            className="chip"
            aria-pressed={when.kind === "now"}
            onClick={() => pick(NOW)}
          >
            Now
          </button>
          <h3>As it was known</h3>
          <div className="chips">
            {AGES.map(([name, seconds]) => (
              <button
                key={name}
                type="button"
                className="chip"
                onClick={() => pick({ kind: "moment", at: before(seconds) })}
              >
                {name}
              </button>
            ))}
          </div>
          <Moment when={when} onPick={pick} />
          <h3>Only what was published</h3>
          <div className="chips">
            {RANGES.map(([name, seconds]) => (
              <button
                key={name}
                type="button"
                className="chip"
                onClick={() =>
                  pick({
                    kind: "range",
                    since: before(seconds),
                    until: new Date(Date.now() + 3_600_000).toISOString(),
                  })
                }
              >
                {name}
              </button>
            ))}
          </div>
          <Range when={when} onPick={pick} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

interface PickProps {
  when: When;
  onPick: (when: When) => void;
}

function Moment({ when, onPick }: PickProps) {
  const [at, setAt] = useState(localValue(when.kind === "moment" ? new Date(when.at) : new Date()));
  return (
    <form
      className="pick"
      onSubmit={(event) => {
        event.preventDefault();
        if (at) onPick({ kind: "moment", at: new Date(at).toISOString() });
      }}
    >
      <label>
        Moment
        <input
          type="datetime-local"
          value={at}
          max={localValue(new Date())}
          onChange={(event) => setAt(event.target.value)}
          required
        />
      </label>
      <button type="submit" className="quiet">
        Use
      </button>
    </form>
  );
}

function Range({ when, onPick }: PickProps) {
  const of = (date: Date) => localValue(date);
  const [since, setSince] = useState(
    of(when.kind === "range" ? new Date(when.since) : new Date(Date.now() - 86_400_000)),
  );
  const [until, setUntil] = useState(of(when.kind === "range" ? new Date(when.until) : new Date()));
  return (
    <form
      className="pick"
      onSubmit={(event) => {
        event.preventDefault();
        if (since && until && since < until) {
          onPick({
            kind: "range",
            since: new Date(since).toISOString(),
            until: new Date(until).toISOString(),
          });
        }
      }}
    >
      <label>
        From
        <input
          type="datetime-local"
          value={since}
          max={until}
          onChange={(event) => setSince(event.target.value)}
          required
        />
      </label>
      <label>
        To
        <input
          type="datetime-local"
          value={until}
          min={since}
          onChange={(event) => setUntil(event.target.value)}
          required
        />
      </label>
      <button type="submit" className="quiet">
        Use
      </button>
    </form>
  );
}
