/** The API's shapes: generated where the OpenAPI document has them, named here where it has not. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Answer = Schemas["Answer"];
export type Sentence = Schemas["Sentence"];
export type Citation = Schemas["Citation"];
export type Verdict = Schemas["Verdict"];
export type VerdictKind = Schemas["VerdictKind"];
export type Plan = Schemas["Plan"];
export type Freshness = Schemas["Freshness"];
export type SourceState = Schemas["SourceState"];
export type Disagreement = Schemas["Disagreement"];
export type Superseded = Schemas["Superseded"];
export type Difference = Schemas["Difference"];
export type ClaimChange = Schemas["ClaimChange"];
export type Finding = Schemas["Finding"];
export type Report = Schemas["Report"];
export type Problem = Schemas["Problem"];

export interface Conversation {
  id: string;
  title: string;
  folder: string;
  created_at: string;
  updated_at: string;
  answers: number;
  share_url: string | null;
}

export interface StoredTurn {
  id: string;
  previous_id: string | null;
  answer: Answer;
}

export interface Thread extends Conversation {
  turns: StoredTurn[];
}

export interface Status {
  version: string;
  now: string;
  summary: {
    sources: number;
    fresh: number;
    newest_at: string | null;
    newest_age_s: number | null;
  };
  sources: SourceState[];
  models: { name: string; role: string; state: string; text: string; body_bytes: number }[];
  record: Record<string, number>;
  index: Record<string, number>;
  demo: { banner: string } | null;
  examples: string[];
  key_required: boolean;
}

export type Role = "admin" | "editor" | "reader";

export interface Session {
  signed_in: boolean;
  sign_in_needed: boolean;
  name?: string;
  role?: Role;
  csrf?: string;
  /** Whether people can sign in with an OpenID provider. */
  openid?: boolean;
  expires_at?: string;
}

export interface SearchHit {
  key: string;
  version: number;
  seq: number;
  title: string;
  title_highlights: [number, number][];
  url: string;
  saved_url: string;
  source: string;
  kind: string;
  author: string;
  lang: string;
  published_at: string | null;
  observed_at: string;
  time: string;
  snippet: string;
  highlights: [number, number][];
  withheld: boolean;
  copies: number;
  score: number;
}

export interface SearchResults {
  hits: SearchHit[];
  as_of: string | null;
  took_ms: number;
  vectors: boolean;
}

export type RunStatus = "running" | "done" | "cancelled" | "failed";

export interface Run {
  id: string;
  question: string;
  created_at: string;
  as_of: string | null;
  status: RunStatus;
  ended: string;
  budget: { steps: number; seconds: number; usd: number | null };
  spent: {
    steps: number;
    seconds: number;
    usd: number;
    input_tokens: number;
    output_tokens: number;
  };
  findings: number;
  ahead?: string[];
  asked?: string[];
  notebook?: Finding[];
  report?: (Report & { markdown: string }) | null;
}

export interface Story {
  id: string;
  title: string;
  key: string;
  saved_url: string;
  newest_at: string;
  first_at: string;
  outlets: number;
  documents: number;
  spark: number[];
  bucket_s: number;
  sources: string[];
  lang: string;
  question: string;
}

export interface Now {
  stories: Story[];
  freshness: {
    sources: number;
    fresh: number;
    newest_at: string | null;
    newest_age_s: number | null;
    silent: SourceState[];
  };
  examples: string[];
  demo: boolean;
}

export interface Watch {
  id: string;
  question: string;
  created_at: string;
  checked_at: string;
  sources: string[];
  kinds: string[];
  langs: string[];
  domains: string[];
  events: number;
  unread: number;
  /** Why it could not be looked at last time; empty if it could. */
  trouble: string;
}
