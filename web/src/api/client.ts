/** The public API, as any other client would call it. */

/** What went wrong, with the next step. */
export class Problem extends Error {
  readonly hint: string;
  readonly status: number;
  readonly code: string;

  constructor(message: string, hint = "", status = 0, code = "") {
    super(message);
    this.name = "Problem";
    this.hint = hint;
    this.status = status;
    this.code = code;
  }
}

export const isAbort = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "AbortError";

/** Anything that was thrown, as something that can be shown. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(error instanceof Error ? error.message : String(error));
}

async function refusal(response: Response): Promise<Problem> {
  let body: { detail?: string; hint?: string; code?: string } = {};
  try {
    body = await response.json();
  } catch {
    // Not ours, a proxy's perhaps; the status tells what there is to tell.
  }
  return new Problem(
    body.detail ?? `The server answered ${response.status}.`,
    body.hint ?? "",
    response.status,
    body.code ?? "",
  );
}

let csrf = "";
let onSignedOut: () => void = () => {};

/** Requests that change something prove that they come from this session's page. */
export function setCsrf(token: string): void {
  csrf = token;
}

/** What to do when the server wants a sign-in. */
export function whenSignedOut(act: () => void): void {
  onSignedOut = act;
}

interface Options {
  method?: string;
  body?: unknown;
  query?: Record<string, Query>;
  signal?: AbortSignal;
  keepalive?: boolean;
}
type Query = string | number | boolean | null | undefined | readonly string[];

function address(path: string, query: Record<string, Query> = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
  }
  return parameters.size ? `${path}?${parameters}` : path;
}

async function exchange(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (csrf && init.method && init.method !== "GET") headers.set("x-csrf-token", csrf);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, credentials: "same-origin" });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Problem("Gnomon does not answer.", "Is it still running? Start it with: gnomon up");
  }
  if (response.ok) return response;
  if (response.status === 401) onSignedOut();
  throw await refusal(response);
}

function initOf({ method, body, signal, keepalive }: Options): RequestInit {
  const init: RequestInit = { method: method ?? (body === undefined ? "GET" : "POST") };
  if (body instanceof FormData) init.body = body;
  else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "content-type": "application/json" };
  }
  if (signal) init.signal = signal;
  if (keepalive) init.keepalive = true;
  return init;
}

/** One exchange of JSON; `body` makes it a POST. The caller says what it expects. */
export async function call<T>(path: string, options: Options = {}): Promise<T> {
  const response = await exchange(address(path, options.query), initOf(options));
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** The text of a reply, for exports. */
export async function text(path: string, options: Options = {}): Promise<string> {
  return (await exchange(address(path, options.query), initOf(options))).text();
}

export interface ServerEvent {
  id: string;
  name: string;
  data: unknown;
}

/** The events of a stream, until it ends. Raises Problem if it breaks. */
export async function* events(path: string, options: Options = {}): AsyncGenerator<ServerEvent> {
  const init = initOf(options);
  const headers = new Headers(init.headers);
  headers.set("accept", "text/event-stream");
  const response = await exchange(address(path, options.query), { ...init, headers });
  if (!response.body) throw new Problem("The server sent an empty reply.");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      let part: ReadableStreamReadResult<string>;
      try {
        part = await reader.read();
      } catch (error) {
        if (isAbort(error)) throw error;
        throw new Problem("The connection broke before the answer was complete.", "Try again.");
      }
      if (part.done) return;
      yield* parser.push(part.value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Server-sent events out of pieces of text, however they are cut. */
export class EventParser {
  private buffer = "";

  *push(piece: string): Generator<ServerEvent> {
    this.buffer += piece;
    for (let end = this.buffer.indexOf("\n\n"); end >= 0; end = this.buffer.indexOf("\n\n")) {
      const block = this.buffer.slice(0, end);
      this.buffer = this.buffer.slice(end + 2);
      const event = parsed(block);
      if (event) yield event;
    }
  }
}

function parsed(block: string): ServerEvent | null {
  let id = "";
  let name = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    else if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("id:")) id = line.slice(3).trim();
  }
  if (!data.length || data[0] === "[DONE]") return null;
  return { id, name, data: JSON.parse(data.join("\n")) };
}
