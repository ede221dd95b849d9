import { describe, expect, it } from "vitest";
import { momentsIn } from "./time";

describe("momentsIn", () => {
  it("finds the moments among words", () => {
    const [before, at, between, until, after] = momentsIn(
      "Lost between 2026-11-23 14:57 UTC and 2026-11-23 15:02 UTC: too many.",
    );
    expect([before, between, after]).toEqual(["Lost between ", " and ", ": too many."]);
    expect((at as Date).toISOString()).toBe("2026-11-23T14:57:00.000Z");
    expect((until as Date).toISOString()).toBe("2026-11-23T15:02:00.000Z");
  });

  it("leaves what is no moment as it stands", () => {
    expect(momentsIn("2026-11-23 is a day").join("")).toBe("2026-11-23 is a day");
    expect(momentsIn("At 2026-99-23 14:57 UTC").join("")).toBe("At 2026-99-23 14:57 UTC");
    expect(momentsIn("At 2026-11-23 09:00 CET")).toHaveLength(1);
  });
});
