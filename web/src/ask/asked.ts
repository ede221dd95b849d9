/** What a question asks for beside its words, and how that goes over the wire. */

export type Mode = "fast" | "deep" | "extract";
export type Kind = "web" | "posts" | "files";

/** When the question is asked about: now, as of a moment, or about what was published in a range. */
export type When =
  | { kind: "now" }
  | { kind: "moment"; at: string }
  | { kind: "range"; since: string; until: string };

export interface Wish {
  mode: Mode;
  kinds: readonly Kind[];
  when: When;
}

export const KINDS: readonly Kind[] = ["web", "posts", "files"];
export const NOW: When = { kind: "now" };
export const USUAL: Wish = { mode: "fast", kinds: KINDS, when: NOW };

const DOCUMENT_KINDS: Record<Kind, readonly string[]> = {
  web: ["article", "page", "alert", "paper", "release", "edit"],
  posts: ["post", "comment"],
  files: ["file"],
};

/** The fields of the API for a wish; what is usual is left out. */
export function fieldsOf(wish: Wish): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  if (wish.mode === "extract") fields.mode = "extract";
  if (wish.kinds.length < KINDS.length) {
    fields.kinds = wish.kinds.flatMap((kind) => DOCUMENT_KINDS[kind]);
  }
  if (wish.when.kind === "moment") fields.as_of = wish.when.at;
  if (wish.when.kind === "range") {
    fields.since = wish.when.since;
    fields.until = wish.when.until;
    // What was seen after the range is not yet known at its end.
    if (new Date(wish.when.until) <= new Date()) fields.as_of = wish.when.until;
  }
  return fields;
}

/** The moment that an answer to this wish stands for; null for now. */
export function momentOf(when: When): string | null {
  if (when.kind === "moment") return when.at;
  if (when.kind === "range" && new Date(when.until) <= new Date()) return when.until;
  return null;
}
