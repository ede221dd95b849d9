// Moments in the reader's own time zone; UTC in the tooltip.
import { el } from "./dom.js";

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const year = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export function utc(date) {
  return date.toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

/** "14:05" today, "21 Nov, 14:05" this year, else with the year. */
export function said(date, now = new Date()) {
  if (date.toDateString() === now.toDateString()) return clock.format(date);
  const form = date.getFullYear() === now.getFullYear() ? day : year;
  return `${form.format(date)}, ${clock.format(date)}`;
}

/** A span of seconds in its largest unit. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 59.5 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

export function ago(date, now = new Date()) {
  return `${span((now - date) / 1000)} ago`;
}

/** A `<time>` that shows a moment, or "undated". */
export function timeOf(iso, form = said) {
  if (!iso) return el("span", { className: "undated" }, "undated");
  const date = new Date(iso);
  return el("time", { dateTime: iso, title: `${said(date)} · ${utc(date)}` }, form(date));
}

/** Value of a datetime-local field for a moment. */
export function localValue(date) {
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60000);
  return shifted.toISOString().slice(0, 16);
}
