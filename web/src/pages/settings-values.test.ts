import { expect, test } from "vitest";
import { draftOf, meant, type Setting, worded } from "./settings-values";

const setting = (more: Partial<Setting>): Setting => ({
  name: "a.b",
  description: "",
  schema: { type: "string" },
  nullable: false,
  secret: false,
  origin: "default",
  refusal: "",
  needs_restart: true,
  pending: false,
  ...more,
});

test("what stands in the field means the value it came from", () => {
  const cases: Partial<Setting>[] = [
    { schema: { type: "integer" }, next: 8420 },
    { schema: { type: "number" }, next: 0.25 },
    { schema: { type: "boolean" }, next: false },
    { schema: { type: "array" }, next: ["a:1", "b:2"] },
    { schema: { type: "array" }, next: [] },
    { schema: { type: "number" }, nullable: true, next: null },
    { schema: { type: "string" }, next: "" },
  ];
  for (const each of cases) {
    const made = setting(each);
    expect(meant(made, draftOf(made))).toEqual(each.next);
  }
});

test("what is no number reaches the server as it was typed", () => {
  expect(meant(setting({ schema: { type: "integer" } }), "12x")).toBe("12x");
});

test("a secret never stands in the field", () => {
  expect(draftOf(setting({ secret: true, set: true, next: "no" }))).toBe("");
});

test("values in words", () => {
  expect([worded(null), worded(true), worded(["a", "b"]), worded("x")]).toEqual([
    "none",
    "on",
    "a, b",
    "x",
  ]);
});
