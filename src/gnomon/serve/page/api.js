// The public API, as any other client would call it.

/** What went wrong, with the next step. */
export class Problem extends Error {
  constructor(message, hint = "", status = 0) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not ours, a proxy's perhaps; the status tells what there is to tell.
  }
  return new Problem(
    body.detail ?? `The server answered ${response.status}.`,
    body.hint ?? "",
    response.status,
  );
}

async function exchange(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("Gnomon does not answer.", "Is it still running? Start it with: gnomon up");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** One exchange of JSON; `body` makes it a POST. */
export async function call(path, { method, body, query, signal } = {}) {
  const parameters = new URLSearchParams(
    Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== ""),
  );
  const url = parameters.size ? `${path}?${parameters}` : path;
  const response = await exchange(url, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
  });
  return response.status === 204 ? null : response.json();
}

/** The events that a POST streams, as [name, data]. */
export async function* events(path, body, signal) {
  const response = await exchange(path, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify(body),
    signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The connection broke before the answer was complete.", "Ask again.");
    }
    if (part.done) return;
    buffer += part.value;
    for (let at; (at = buffer.indexOf("\n\n")) >= 0; buffer = buffer.slice(at + 2)) {
      let name = "";
      let data = "";
      for (const line of buffer.slice(0, at).split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (data) yield [name, JSON.parse(data)];
    }
  }
}
