import { expect, test } from "vitest";
import type { Answer } from "../api/types";
import { aboutGnomon, notesBeside } from "./notes";

const old = "The bridge is open to all traffic.";
const answer = {
  notes: [
    `Until 2026-05-04 11:00 UTC it was: “${old}” (herald, 2026-05-04 08:00 UTC).`,
    "Until the model is installed, answers are quoted.",
    "Sources disagree: a says “x”, b says “y”.",
    "“The mayor is Ada.” stood until 2026-05-04 09:00 UTC: a newer report says otherwise.",
  ],
  sentences: [{ text: "The mayor is Ada.", until: "2026-05-04T09:00:00Z" }],
  disagreements: [{ text: "Sources disagree: a says “x”, b says “y”." }],
  superseded: [{ text: old }],
} as unknown as Answer;

test("what a sentence shows is not told again below", () => {
  expect(notesBeside(answer)).toEqual(["Until the model is installed, answers are quoted."]);
});

test("a remark on what no sentence shows stays", () => {
  expect(notesBeside({ ...answer, superseded: [], disagreements: [], sentences: [] })).toEqual(
    answer.notes,
  );
});

test("an answer about Gnomon cites Gnomon alone", () => {
  const cites = (...keys: string[]) => ({ citations: keys.map((key) => ({ key })) }) as Answer;
  expect(aboutGnomon(cites("call:gnomon:0", "call:gnomon:1"))).toBe(true);
  expect(aboutGnomon(cites("call:gnomon:0", "feed:herald/1"))).toBe(false);
  expect(aboutGnomon(cites("call:call_7"))).toBe(false);
  expect(aboutGnomon(cites())).toBe(false);
});
