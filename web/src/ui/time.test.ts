import { describe, expect, it } from "vitest";
import { isDay, momentsIn, saidDay } from "./time";

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

describe("a day without a time", () => {
  it("is known by the first instant of it in UTC", () => {
    expect(isDay("2019-11-05T00:00:00Z")).toBe(true);
    expect(isDay("2019-11-05T00:00:01Z")).toBe(false);
    expect(isDay("2019-11-05T00:00:00-05:00")).toBe(false);
  });

  it("is that day everywhere on earth", () => {
    const day = new Date("2019-11-05T00:00:00Z");
    expect(saidDay(day, "clock")).toContain("5");
    expect(saidDay(day, "ago", new Date("2019-11-05T23:00:00Z"))).toBe("today");
    expect(saidDay(day, "ago", new Date("2019-11-06T01:00:00Z"))).toBe("yesterday");
    expect(saidDay(day, "ago", new Date("2019-11-09T01:00:00Z"))).toBe("4 days ago");
  });
});
