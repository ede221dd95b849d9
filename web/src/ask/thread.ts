/** A conversation as the page holds it: its turns, their branches, and the answers being written. */
import { call, events, isAbort, Problem, problemOf, type ServerEvent } from "../api/client";
import type { Answer, Citation, Freshness, Plan, Sentence, StoredTurn, Thread } from "../api/types";
import { fieldsOf, NOW, USUAL, type Wish } from "./asked";

export interface Turn {
  /** Name on this page; the answer's own id is known only once the question was understood. */
  key: string;
  id: string | null;
  parent: string | null;
  question: string;
  wish: Wish;
  state: "running" | "done" | "stopped" | "failed";
  startedAt: number;
  /** Number of the last event that came; -1 before the first. */
  seen: number;
  steps: Step[];
  plan: Plan | null;
  candidates: number;
  freshness: Freshness | null;
  sentences: Sentence[];
  citations: Record<number, Citation>;
  answer: Answer | null;
  problem: Problem | null;
}

export interface Step {
  text: string;
  atMs: number;
}

interface Running {
  thread: string;
  id: string;
  parent: string | null;
  question: string;
  wish: Wish;
}

/** A question that was sent and of which the server has not said yet that it was understood. */
interface Asking {
  /** By this the server knows it again, so that it is not answered twice. */
  key: string;
  thread: string | null;
  parent: string | null;
  question: string;
  wish: Wish;
}

const RUNNING = "gnomon.running";
const ASKING = "gnomon.asking";
const RETRIES = 5;
const RETRY_MS = 1_000;

class Broken extends Problem {
  constructor() {
    super("The answer ended before it was complete.", "Ask again.");
  }
}

/** The conversation on the screen. Components subscribe; `version` changes with every change. */
export class Talk {
  threadId: string | null = null;
  title = "";
  turns: Turn[] = [];
  version = 0;
  /** For each parent (`""`: none), the key of the branch that is shown. */
  private chosen: Record<string, string> = {};
  private controls = new Map<string, AbortController>();
  private listeners = new Set<() => void>();
  private made = 0;
  private frame = 0;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private changed(): void {
    this.version += 1;
    for (const listener of this.listeners) listener();
  }

  /** What arrives in between is drawn together, with the next picture. */
  private changedSoon(): void {
    if (document.hidden) this.changed();
    else if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.changed();
      });
    }
  }

  /** The turns of the branch that is shown, in order. */
  get path(): Turn[] {
    const shown: Turn[] = [];
    let parent: string | null = null;
    for (;;) {
      const turn = this.pick(parent);
      if (!turn) return shown;
      shown.push(turn);
      if (!turn.id) return shown;
      parent = turn.id;
    }
  }

  private pick(parent: string | null): Turn | undefined {
    const branches = this.branches(parent);
    return branches.find((turn) => turn.key === this.chosen[parent ?? ""]) ?? branches.at(-1);
  }

  /** All turns that follow on the same answer. */
  branches(parent: string | null): Turn[] {
    return this.turns.filter((turn) => turn.parent === parent);
  }

  choose(turn: Turn): void {
    this.chosen[turn.parent ?? ""] = turn.key;
    this.changed();
  }

  get running(): Turn | undefined {
    return this.turns.find((turn) => turn.state === "running");
  }

  /** Ask; the answer arrives in the turn that is returned. */
  ask(question: string, wish: Wish, parent: string | null, key = newKey()): Turn {
    const turn = this.begin(question, wish, parent);
    const left: Asking = { key, thread: this.threadId, parent, question, wish };
    sessionStorage.setItem(ASKING, JSON.stringify(left));
    const body = {
      question,
      resumable: true,
      request_key: key,
      follow_ups: true,
      time_zone: new Intl.DateTimeFormat().resolvedOptions().timeZone,
      ...fieldsOf(wish),
      ...(parent ? { previous_id: parent } : {}),
    };
    void this.follow(turn, (signal) => events("/v1/ask", { body, signal }));
    return turn;
  }

  /** Ask the same again, beside the answer that is there. */
  again(turn: Turn, wish: Wish = turn.wish): Turn {
    if (turn.state === "failed" && !turn.sentences.length) this.remove(turn);
    return this.ask(turn.question, wish, turn.parent);
  }

  stop(turn: Turn): void {
    this.controls.get(turn.key)?.abort();
    if (turn.id) void call(`/v1/answers/${turn.id}/cancel`, { method: "POST" }).catch(() => {});
  }

  /** A conversation from the server, with the answer that was being written when the page was left. */
  load(thread: Thread): void {
    this.threadId = thread.id;
    this.title = thread.title;
    const live = this.turns.filter((turn) => turn.state === "running" || turn.problem);
    const stored = thread.turns.map((turn) => this.stored(turn));
    const known = new Set(stored.map((turn) => turn.id));
    this.turns = [...stored, ...live.filter((turn) => !turn.id || !known.has(turn.id))];
    this.changed();
  }

  /** Go on reading an answer that was being written when the page was left. `first`: only if it
   * begins the conversation, which the server does not know before it is complete. */
  resume(threadId: string, first = false): boolean {
    const left = running();
    if (first && left?.parent) return false;
    if (!left || left.thread !== threadId || this.turns.some((turn) => turn.id === left.id)) {
      return false;
    }
    const turn = this.begin(left.question, left.wish, left.parent);
    turn.id = left.id;
    this.threadId = threadId;
    void this.follow(turn, (signal) => this.rest(turn, signal));
    return true;
  }

  /** Send the question once more that was on its way when the page was left. `threadId`: null where
   * it begins a conversation. */
  askAgain(threadId: string | null): boolean {
    const left = unsent;
    if (!left || left.thread !== threadId || this.running) return false;
    unsent = null;
    this.ask(left.question, left.wish, left.parent, left.key);
    return true;
  }

  private begin(question: string, wish: Wish, parent: string | null): Turn {
    this.made += 1;
    const turn: Turn = {
      ...blank(`asked-${this.made}`, question, parent),
      wish,
      steps: [{ text: "Understanding the question", atMs: 0 }],
    };
    this.turns = [...this.turns, turn];
    this.chosen[parent ?? ""] = turn.key;
    if (!this.title) this.title = question;
    this.changed();
    return turn;
  }

  private remove(turn: Turn): void {
    this.turns = this.turns.filter((each) => each !== turn);
  }

  private stored({ id, previous_id, answer }: StoredTurn): Turn {
    const at = answer.as_of;
    return {
      ...blank(id, answer.question, previous_id),
      id,
      wish: { ...USUAL, when: at ? { kind: "moment", at } : NOW },
      state: "done",
      sentences: answer.sentences,
      citations: byNumber(answer.citations),
      freshness: answer.freshness,
      answer,
    };
  }

  private async follow(
    turn: Turn,
    open: (signal: AbortSignal) => AsyncGenerator<ServerEvent>,
  ): Promise<void> {
    const control = new AbortController();
    this.controls.set(turn.key, control);
    let stream = open(control.signal);
    for (let left = RETRIES; turn.state === "running"; left--) {
      try {
        for await (const event of stream) {
          if (event.id) turn.seen = Number(event.id);
          this.take(turn, event);
          this.changedSoon();
        }
        if (turn.state === "running") throw new Broken();
      } catch (error) {
        if (isAbort(error)) turn.state = "stopped";
        else if (turn.id && left > 0 && problemOf(error).status === 0 && !problemOf(error).code) {
          // The server goes on without us; what came since is asked for again.
          await new Promise((done) => window.setTimeout(done, RETRY_MS));
          stream = this.rest(turn, control.signal);
        } else {
          turn.state = "failed";
          turn.problem = problemOf(error);
        }
      }
    }
    this.controls.delete(turn.key);
    if (running()?.id === turn.id) sessionStorage.removeItem(RUNNING);
    // Nobody waits any longer for what ended before it was understood, unless the page is left.
    if (!turn.id && !leaving) sessionStorage.removeItem(ASKING);
    this.changed();
  }

  private rest(turn: Turn, signal: AbortSignal): AsyncGenerator<ServerEvent> {
    const path = `/v1/answers/${encodeURIComponent(turn.id ?? "")}/events`;
    return events(path, { query: { starting_after: turn.seen }, signal });
  }

  private take(turn: Turn, { name, data }: ServerEvent): void {
    const step = (text: string) => {
      turn.steps = [...turn.steps, { text, atMs: Date.now() - turn.startedAt }];
    };
    if (name === "planned") {
      const { id, plan, newness } = data as { id: string; plan: Plan; newness?: string };
      turn.id = id;
      turn.plan = plan;
      this.threadId ??= id;
      const left: Running = {
        thread: this.threadId,
        id,
        parent: turn.parent,
        question: turn.question,
        wish: turn.wish,
      };
      sessionStorage.setItem(RUNNING, JSON.stringify(left));
      sessionStorage.removeItem(ASKING);
      step(`Searching for “${plan.search_text}”`);
      if (newness) step(newness);
    } else if (name === "retrieved") {
      const { citations, freshness } = data as { citations: Citation[]; freshness: Freshness };
      turn.candidates = citations.length;
      turn.freshness = freshness;
      const searched = freshness.searched.toLocaleString();
      step(`Reading ${counted(citations.length, "passage")} of ${searched} documents`);
    } else if (name === "sentence") {
      const { sentence, citations } = data as { sentence: Sentence; citations: Citation[] };
      if (!turn.sentences.length) step("Writing, and checking each sentence");
      turn.sentences = [...turn.sentences, sentence];
      // The same object while nothing is new, so that only the new sentence is drawn.
      if (citations.some((citation) => !turn.citations[citation.number])) {
        turn.citations = { ...turn.citations, ...byNumber(citations) };
      }
    } else if (name === "finished") {
      const { id, answer } = data as { id: string; answer: Answer };
      turn.id = id;
      turn.answer = answer;
      turn.sentences = answer.sentences.map((each, at) => kept(turn.sentences[at], each));
      turn.citations = kept(turn.citations, byNumber(answer.citations));
      turn.freshness = answer.freshness;
      turn.state = "done";
    } else if (name === "error") {
      const { message, hint, code } = data as { message: string; hint: string; code: string };
      throw new Problem(message, hint, 0, code);
    }
  }
}

export const counted = (n: number, noun: string): string =>
  `${n.toLocaleString()} ${noun}${n === 1 ? "" : "s"}`;

function blank(key: string, question: string, parent: string | null): Turn {
  return {
    key,
    id: null,
    parent,
    question,
    wish: USUAL,
    state: "running",
    startedAt: Date.now(),
    seen: -1,
    steps: [],
    plan: null,
    candidates: 0,
    freshness: null,
    sentences: [],
    citations: {},
    answer: null,
    problem: null,
  };
}

/** What stands already, if the new is the same: then it is not drawn again. */
const kept = <T>(old: T | undefined, found: T): T =>
  old !== undefined && JSON.stringify(old) === JSON.stringify(found) ? old : found;

const byNumber = (citations: readonly Citation[]): Record<number, Citation> =>
  Object.fromEntries(citations.map((citation) => [citation.number, citation]));

const running = (): Running | null => keptAs<Running>(RUNNING);
/** What was on its way when the page was left; once it is sent again it is no more. */
let unsent = keptAs<Asking>(ASKING);
let leaving = false;
for (const event of ["beforeunload", "pagehide"]) {
  window.addEventListener(event, () => {
    leaving = true;
  });
}

function keptAs<T>(name: string): T | null {
  const kept = sessionStorage.getItem(name);
  return kept ? (JSON.parse(kept) as T) : null;
}

/** A name for a request that nobody else can guess. */
const newKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) =>
    n.toString(16).padStart(2, "0"),
  ).join("");

/** The conversation that is on the screen, kept while other pages are looked at. */
let current = new Talk();
const watchers = new Set<() => void>();

export const currentTalk = (): Talk => current;

/** Begin another conversation; the one before goes on being written, and can be opened again. */
export function newTalk(): Talk {
  current = new Talk();
  for (const watcher of watchers) watcher();
  return current;
}

/** Called whenever another conversation is on the screen. */
export function watchTalk(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}
