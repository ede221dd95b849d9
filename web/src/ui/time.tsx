/** Moments in the reader's own time zone; UTC in the tooltip. */
import { useSyncExternalStore } from "react";
import { calm } from "./text";

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayAndYear = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  year: "numeric",
});
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export const utc = (date: Date): string =>
  `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;

/** "14:05" today, "21 Nov, 14:05" this year, else with the year. */
export function said(date: Date, now = new Date()): string {
  if (date.toDateString() === now.toDateString()) return clock.format(date);
  const form = date.getFullYear() === now.getFullYear() ? day : dayAndYear;
  return `${form.format(date)}, ${clock.format(date)}`;
}

const DAY_MS = 86_400_000;
const utcDay = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});

/** Whether a claimed moment is only a day: the first instant of one in UTC, as those are stored. */
export const isDay = (at: string): boolean => new Date(at).getTime() % DAY_MS === 0;

/** A day without a time of day: "5 Nov 2019", or how many days ago it was. */
export function saidDay(date: Date, form: "ago" | "clock", now = new Date()): string {
  if (form === "clock") return utcDay.format(date);
  const days = Math.floor((now.getTime() - date.getTime()) / DAY_MS);
  if (days < 1) return "today";
  return days === 1 ? "yesterday" : `${days} days ago`;
}

/** A span of seconds in its largest unit. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 59.5 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

export const ago = (date: Date, now = new Date()): string => {
  const seconds = (now.getTime() - date.getTime()) / 1000;
  return seconds < 1 ? "just now" : `${span(seconds)} ago`;
};

/** Value of a datetime-local field for a moment. */
export function localValue(date: Date): string {
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}

// One timer for every relative time on the page.
const listeners = new Set<() => void>();
let ticking = 0;
let now = new Date();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  if (!ticking) {
    ticking = window.setInterval(() => {
      now = new Date();
      for (const each of listeners) each();
    }, 15_000);
  }
  return () => {
    listeners.delete(listener);
    if (!listeners.size) {
      window.clearInterval(ticking);
      ticking = 0;
    }
  };
}

/** Now, to a quarter of a minute. */
export function useNow(): Date {
  return useSyncExternalStore(subscribe, () => now);
}

const WRITTEN = /(\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC)/;

/** `text` in pieces: words as they stand, moments as dates. */
export function momentsIn(text: string): (string | Date)[] {
  return text.split(WRITTEN).map((piece, at) => {
    if (at % 2 === 0) return piece;
    const date = new Date(`${piece.slice(0, 10)}T${piece.slice(11, 16)}:00Z`);
    return Number.isNaN(date.getTime()) ? piece : date;
  });
}

interface TimeProps {
  at: string | null | undefined;
  /** `ago` says the age, `clock` the time of day. */
  form?: "ago" | "clock";
  /** When it says that it was published: then it may be a day alone. */
  claim?: boolean;
}

/** A moment; the exact one, in both zones, on hover. "undated" if there is none. */
export function Time({ at, form = "clock", claim = false }: TimeProps) {
  const current = useNow();
  if (!at) return <span className="undated">undated</span>;
  const date = new Date(at);
  if (claim && isDay(at)) {
    return (
      <time dateTime={at.slice(0, 10)} title="Only the day is known">
        {saidDay(date, form, later(current, date))}
      </time>
    );
  }
  return (
    <time dateTime={at} title={`${exact.format(date)} · ${utc(date)}`}>
      {form === "ago" ? ago(date, later(current, date)) : said(date, current)}
    </time>
  );
}

/** Words of the server; the moments among them in the reader's zone. */
export function Dated({ children }: { children: string }) {
  return (
    <bdi>
      {momentsIn(calm(children)).map((piece, at) =>
        // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of one text never move.
        typeof piece === "string" ? piece : <Time key={at} at={piece.toISOString()} />,
      )}
    </bdi>
  );
}

const later = (one: Date, other: Date): Date => (one > other ? one : other);
