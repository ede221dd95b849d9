import { describe, expect, it } from "vitest";
import { Rates, rateWords } from "./rate";

describe("Rates", () => {
  it("tells the speed once it has watched for long enough", () => {
    const rates = new Rates();
    rates.note("a", 100, 0);
    rates.note("a", 101, 5_000);
    expect(rates.perMinute("a")).toBeNull();
    rates.note("a", 106, 30_000);
    expect(rates.perMinute("a")).toBe(12);
    expect(rates.perMinute("b")).toBeNull();
  });

  it("forgets what is older than ten minutes", () => {
    const rates = new Rates();
    rates.note("a", 0, 0);
    rates.note("a", 1_000, 60_000);
    rates.note("a", 1_010, 660_001);
    expect(rates.perMinute("a")).toBeNull();
    rates.note("a", 1_020, 720_001);
    expect(rates.perMinute("a")).toBeCloseTo(10);
  });

  it("begins anew when a count fell", () => {
    const rates = new Rates();
    rates.note("a", 50, 0);
    rates.note("a", 3, 30_000);
    expect(rates.perMinute("a")).toBeNull();
  });
});

describe("rateWords", () => {
  it.each([
    [null, ""],
    [0, "none just now"],
    [0.05, "3 an hour"],
    [1.26, "1.3 a minute"],
    [90.4, "90 a minute"],
  ])("%s is “%s”", (rate, words) => {
    expect(rateWords(rate)).toBe(words);
  });
});
