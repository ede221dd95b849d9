/** Lists of feeds, as other readers export them. */
import { call, Problem, problemOf } from "../api/client";

const MOST = 1_000;
const AT_ONCE = 4;

export interface Feed {
  url: string;
  title: string;
}

export interface Outcome {
  added: number;
  known: number;
  failed: { feed: Feed; reason: string }[];
}

/** The feeds of an OPML file, each once. Raises Problem if it is none, or lists none. */
export function feedsOf(opml: string): Feed[] {
  const parsed = new DOMParser().parseFromString(opml, "text/xml");
  const feeds = new Map<string, Feed>();
  for (const outline of parsed.querySelectorAll("outline")) {
    const url = outline.getAttribute("xmlUrl")?.trim();
    const title = outline.getAttribute("title") ?? outline.getAttribute("text") ?? "";
    if (url) feeds.set(url, { url, title: title.trim().slice(0, 200) });
  }
  if (!feeds.size) {
    throw new Problem(
      "The file lists no feeds.",
      "Export the list from the other reader as OPML, and choose that file.",
    );
  }
  if (feeds.size > MOST) {
    throw new Problem(
      `The file lists ${feeds.size.toLocaleString()} feeds; at most ${MOST.toLocaleString()} go at once.`,
      "Split it, or use the command line: gnomon sources add FILE",
    );
  }
  return [...feeds.values()];
}

/** Follow them all, a few at a time; `tell` hears how many are done. */
export async function followAll(
  feeds: readonly Feed[],
  tell: (done: number) => void,
): Promise<Outcome> {
  const outcome: Outcome = { added: 0, known: 0, failed: [] };
  const waiting = [...feeds];
  let done = 0;
  const work = async () => {
    for (let feed = waiting.shift(); feed; feed = waiting.shift()) {
      try {
        // Named as a feed, so that each is not fetched first to find out what it is.
        await call("/v1/sources", {
          body: { type: "feed", text: feed.url, ...(feed.title ? { title: feed.title } : {}) },
        });
        outcome.added += 1;
      } catch (error) {
        const problem = problemOf(error);
        if (problem.code === "source.exists") outcome.known += 1;
        else outcome.failed.push({ feed, reason: problem.message });
      }
      done += 1;
      tell(done);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return outcome;
}
