/** What differs between two texts: lines first, then words inside the lines that changed. */

export interface Piece {
  kind: "same" | "gone" | "new";
  text: string;
}

/** Lines that stayed (each with its line break), or one stretch in which words changed. */
export type Block = { kind: "same"; lines: string[] } | { kind: "changed"; pieces: Piece[] };

// Beyond this the exact answer would take too long; what is found then is coarser, never wrong.
const MAX_EDITS = 1_500;

/** `before` and `after` as blocks, in order. Joining the pieces of a side gives that side back. */
export function differences(before: string, after: string): Block[] {
  const blocks: Block[] = [];
  let gone: string[] = [];
  let fresh: string[] = [];
  const close = () => {
    if (!gone.length && !fresh.length) return;
    const [one, other] = [gone.join(""), fresh.join("")];
    blocks.push({ kind: "changed", pieces: merged(edits(words(one), words(other))) });
    gone = [];
    fresh = [];
  };
  for (const { kind, text } of edits(lines(before), lines(after))) {
    if (kind === "gone") gone.push(text);
    else if (kind === "new") fresh.push(text);
    else {
      close();
      const last = blocks.at(-1);
      if (last?.kind === "same") last.lines.push(text);
      else blocks.push({ kind: "same", lines: [text] });
    }
  }
  close();
  return blocks;
}

const lines = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+/g) ?? [];

/** Words, and what stands between them, each on its own; where no spaces are, single characters. */
const words = (text: string): string[] =>
  text.match(
    /\s+|[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]|[\p{L}\p{N}\p{M}]+|[^\s\p{L}\p{N}\p{M}]/gu,
  ) ?? [];

/** The shortest list of pieces that turns one sequence into the other (Myers). */
function edits(before: readonly string[], after: readonly string[]): Piece[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail += 1;
  }
  const same = (texts: readonly string[]) => texts.map((text): Piece => ({ kind: "same", text }));
  return [
    ...same(before.slice(0, head)),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...same(before.slice(before.length - tail)),
  ];
}

function middle(before: readonly string[], after: readonly string[]): Piece[] {
  const [n, m] = [before.length, after.length];
  const most = Math.min(n + m, MAX_EDITS);
  const size = most + 1;
  const reach = new Int32Array(2 * size + 1);
  const trace: Int32Array[] = [];
  for (let d = 0; d <= most; d += 1) {
    trace.push(reach.slice());
    for (let k = -d; k <= d; k += 2) {
      const left = reach[size + k - 1] ?? 0;
      const right = reach[size + k + 1] ?? 0;
      let x = k === -d || (k !== d && left < right) ? right : left + 1;
      while (x < n && x - k < m && before[x] === after[x - k]) x += 1;
      reach[size + k] = x;
      if (x >= n && x - k >= m) return walked(before, after, trace, d, size);
    }
  }
  return [
    ...before.map((text): Piece => ({ kind: "gone", text })),
    ...after.map((text): Piece => ({ kind: "new", text })),
  ];
}

function walked(
  before: readonly string[],
  after: readonly string[],
  trace: readonly Int32Array[],
  edits: number,
  size: number,
): Piece[] {
  const back: Piece[] = [];
  let [x, y] = [before.length, after.length];
  for (let d = edits; d > 0; d -= 1) {
    const reach = trace[d] ?? new Int32Array();
    const k = x - y;
    const left = reach[size + k - 1] ?? 0;
    const right = reach[size + k + 1] ?? 0;
    const down = k === -d || (k !== d && left < right);
    const fromX = down ? right : left;
    const fromY = fromX - (down ? k + 1 : k - 1);
    while (x > fromX && y > fromY && x > 0 && y > 0 && before[x - 1] === after[y - 1]) {
      x -= 1;
      y -= 1;
      back.push({ kind: "same", text: before[x] ?? "" });
    }
    if (down) back.push({ kind: "new", text: after[y - 1] ?? "" });
    else back.push({ kind: "gone", text: before[x - 1] ?? "" });
    x = fromX;
    y = fromY;
  }
  while (x > 0 && y > 0) {
    x -= 1;
    y -= 1;
    back.push({ kind: "same", text: before[x] ?? "" });
  }
  return back.reverse();
}

/** Neighbours of one kind as one piece; a lone space between two changes belongs to both. */
function merged(pieces: readonly Piece[]): Piece[] {
  const result: Piece[] = [];
  let gone = "";
  let fresh = "";
  const close = () => {
    if (gone) result.push({ kind: "gone", text: gone });
    if (fresh) result.push({ kind: "new", text: fresh });
    gone = "";
    fresh = "";
  };
  for (const [at, { kind, text }] of pieces.entries()) {
    const next = pieces[at + 1]?.kind;
    const between = kind === "same" && text === " " && gone && fresh && next && next !== "same";
    if (kind === "gone" || between) gone += text;
    if (kind === "new" || between) fresh += text;
    if (kind !== "same" || between) continue;
    close();
    const last = result.at(-1);
    if (last?.kind === "same") last.text += text;
    else result.push({ kind, text });
  }
  close();
  return result;
}
