/** How fast documents come in, as far as this page has watched. */

interface Seen {
  atMs: number;
  documents: number;
}

const WINDOW_MS = 10 * 60_000;
const LEAST_MS = 20_000;

/** Watches counts that only grow and tells their speed over the last ten minutes. */
export class Rates {
  private seen = new Map<string, Seen[]>();

  note(name: string, documents: number, atMs: number): void {
    const before = this.seen.get(name) ?? [];
    const last = before.at(-1);
    if (last && last.atMs >= atMs) return;
    // A count that fell began anew: what was removed says nothing about speed.
    const kept = last && documents < last.documents ? [] : before;
    this.seen.set(name, [
      ...kept.filter((each) => atMs - each.atMs <= WINDOW_MS),
      { atMs, documents },
    ]);
  }

  /** Documents a minute; null until it has been watched for long enough. */
  perMinute(name: string): number | null {
    const seen = this.seen.get(name) ?? [];
    const first = seen[0];
    const last = seen.at(-1);
    if (!first || !last || last.atMs - first.atMs < LEAST_MS) return null;
    return ((last.documents - first.documents) * 60_000) / (last.atMs - first.atMs);
  }
}

/** "12 a minute", "3 an hour"; slow ones by the hour, so that they are not all 0. */
export function rateWords(perMinute: number | null): string {
  if (perMinute === null) return "";
  if (perMinute === 0) return "none just now";
  const [count, unit] = perMinute >= 1 ? [perMinute, "a minute"] : [perMinute * 60, "an hour"];
  const shown = count >= 10 ? Math.round(count) : Math.round(count * 10) / 10;
  return `${shown.toLocaleString()} ${unit}`;
}
