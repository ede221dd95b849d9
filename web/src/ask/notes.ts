/** What to say beside an answer, and what its sentences say already. */
import type { Answer } from "../api/types";

/** So much of a text stands in a remark that quotes it, however it is shortened. */
const QUOTED_CHARS = 120;

const quotes = (note: string, text: string): boolean => note.includes(text.slice(0, QUOTED_CHARS));

/** The notes, without those that tell of a disagreement or of an earlier state shown with a sentence. */
export function notesBeside(
  answer: Pick<Answer, "notes" | "sentences" | "disagreements" | "superseded">,
): string[] {
  const { notes, sentences, disagreements, superseded } = answer;
  return notes.filter(
    (note) =>
      !disagreements.some((each) => each.text === note) &&
      !superseded.some((each) => note.startsWith("Until ") && quotes(note, each.text)) &&
      !sentences.some(
        (each) => each.until && note.includes(" stood until ") && quotes(note, each.text),
      ),
  );
}

/** Whether it tells of Gnomon itself: no source is newest, changes or can be watched then. */
export function aboutGnomon({ citations }: Pick<Answer, "citations">): boolean {
  return citations.length > 0 && citations.every(({ key }) => key.startsWith("call:gnomon:"));
}
