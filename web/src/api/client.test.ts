import { describe, expect, it } from "vitest";
import { EventParser } from "./client";

const STREAM =
  'id: 1\nevent: planned\ndata: {"id":"ask_1"}\n\n: heartbeat\n\nevent: sentence\ndata: {"text":"naïve — 橋 🌉"}\n\ndata: [DONE]\n\n';

describe("EventParser", () => {
  it("reads the same events however the text is cut", () => {
    const whole = [...new EventParser().push(STREAM)];
    expect(whole.map((event) => event.name)).toEqual(["planned", "sentence"]);
    expect(whole[0]?.id).toBe("1");
    for (let first = 0; first <= STREAM.length; first++) {
      for (const second of [first, Math.min(first + 7, STREAM.length)]) {
        const parser = new EventParser();
        const pieces = [STREAM.slice(0, first), STREAM.slice(first, second), STREAM.slice(second)];
        expect(pieces.flatMap((piece) => [...parser.push(piece)])).toEqual(whole);
      }
    }
  });
});
