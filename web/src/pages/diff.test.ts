import { describe, expect, it } from "vitest";
import { type Block, differences } from "./diff";

const side = (blocks: Block[], drop: "gone" | "new"): string =>
  blocks
    .map((block) =>
      block.kind === "same"
        ? block.lines.join("")
        : block.pieces
            .filter((piece) => piece.kind !== drop)
            .map((piece) => piece.text)
            .join(""),
    )
    .join("");

describe("differences", () => {
  it("marks the words that changed and leaves the rest", () => {
    expect(differences("The harbour is open.\nBye.", "The harbour is closed.\nBye.")).toEqual([
      {
        kind: "changed",
        pieces: [
          { kind: "same", text: "The harbour is " },
          { kind: "gone", text: "open" },
          { kind: "new", text: "closed" },
          { kind: "same", text: ".\n" },
        ],
      },
      { kind: "same", lines: ["Bye."] },
    ]);
  });

  it("keeps a phrase that changed in one piece", () => {
    const [block] = differences("It has forty two cars.", "It has ninety one cars.");
    expect(block).toEqual({
      kind: "changed",
      pieces: [
        { kind: "same", text: "It has " },
        { kind: "gone", text: "forty two" },
        { kind: "new", text: "ninety one" },
        { kind: "same", text: " cars." },
      ],
    });
  });

  it("tells same texts as the same", () => {
    expect(differences("a\nb", "a\nb")).toEqual([{ kind: "same", lines: ["a\n", "b"] }]);
    expect(differences("", "")).toEqual([]);
  });

  it("compares scripts without spaces by character", () => {
    const [block] = differences("港口今天开放", "港口今天关闭");
    expect(block).toMatchObject({ pieces: [{ kind: "same", text: "港口今天" }, {}, {}] });
  });

  it("gives both texts back, whatever they are", () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    const words = ["a", "b", "cc", " ", " ", "\n", "é", "", "."];
    const text = () =>
      Array.from({ length: random(40) }, () => words[random(words.length)]).join("");
    for (let round = 0; round < 500; round += 1) {
      const [before, after] = [text(), text()];
      const blocks = differences(before, after);
      expect(side(blocks, "new")).toBe(before);
      expect(side(blocks, "gone")).toBe(after);
    }
  });

  it("stays quick and right for long texts that have nothing in common", () => {
    const long = (letter: string) =>
      Array.from({ length: 20_000 }, (_, at) => `${letter}${at}`).join(" ");
    const [before, after] = [long("x"), long("y")];
    const blocks = differences(before, after);
    expect(side(blocks, "new") === before).toBe(true);
    expect(side(blocks, "gone") === after).toBe(true);
  });
});
