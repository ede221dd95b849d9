/** The value of a setting as a person types it, and back. */

export type Value = string | number | boolean | string[] | null;

export interface Setting {
  name: string;
  description: string;
  schema: {
    type?: string;
    enum?: string[];
    format?: string;
    minimum?: number;
    maximum?: number;
    exclusiveMinimum?: number;
    exclusiveMaximum?: number;
  };
  nullable: boolean;
  secret: boolean;
  /** Where the value comes from: a flag, the environment, a file, or "default". */
  origin: string;
  /** Why it cannot be changed here; empty if it can. */
  refusal: string;
  needs_restart: boolean;
  /** Whether the next start will have another value than the running server. */
  pending: boolean;
  /** Secrets only. */
  set?: boolean;
  /** All but secrets. */
  default?: Value;
  value?: Value;
  next?: Value;
}

/** What stands in the field before anybody types. */
export function draftOf({ secret, next }: Setting): string {
  if (secret || next === null || next === undefined) return "";
  return Array.isArray(next) ? next.join(", ") : String(next);
}

/** What was typed, as the server takes it. */
export function meant({ schema, nullable, secret }: Setting, draft: string): Value {
  const text = draft.trim();
  if (secret) return text || null;
  if (schema.type === "boolean") return draft === "true";
  if (schema.type === "array")
    return text
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean);
  if (nullable && !text) return null;
  if (schema.type === "integer" || schema.type === "number") {
    const number = Number(text);
    // Whatever is no number goes as it is: the server says what is wrong with it.
    return text && Number.isSafeInteger(Math.trunc(number)) ? number : text;
  }
  return text;
}

/** A value in words. */
export function worded(value: Value | undefined): string {
  if (value === null || value === undefined || value === "") return "none";
  if (typeof value === "boolean") return value ? "on" : "off";
  if (Array.isArray(value)) return value.length ? value.join(", ") : "none";
  return String(value);
}
