/** The first screen: what is happening, and the box. */
import { useEffect, useSyncExternalStore } from "react";
import { Link, useLocation } from "wouter";
import { call, problemOf } from "../api/client";
import { useNowPage, useStatus } from "../api/queries";
import type { Now, Run, Story } from "../api/types";
import { KINDS, momentOf, type Wish } from "../ask/asked";
import { Composer } from "../ask/composer";
import { counted, currentTalk, newTalk, type Talk, watchTalk } from "../ask/thread";
import { Sparkline } from "../ui/chart";
import { say } from "../ui/notices";
import { calm, savedPath, Words } from "../ui/text";
import { span, Time } from "../ui/time";
import { Conversation } from "./talk";

export function NowPage() {
  const now = useNowPage();
  const status = useStatus();
  const ask = useAsk();
  const talk = useSyncExternalStore(watchTalk, currentTalk);
  const [, go] = useLocation();
  useSyncExternalStore(talk.subscribe, () => talk.version);
  useEffect(() => {
    const open = currentTalk();
    if (!open.turns.length && open.askAgain(null)) goThere(open, go);
  }, [go]);
  if (talk.turns.length && !talk.threadId) return <Conversation talk={talk} />;
  const examples = now.data?.examples.length ? now.data.examples : (status.data?.examples ?? []);
  return (
    <div className="now">
      <h1>What do you want to know?</h1>
      <Composer autoFocus onAsk={(question, wish) => ask(question, wish)} />
      <ul className="examples" aria-label="Example questions">
        {examples.slice(0, 4).map((question) => (
          <li key={question}>
            <button type="button" onClick={() => ask(question)}>
              {calm(question)}
            </button>
          </li>
        ))}
      </ul>
      <Fresh now={now.data} />
      <Stories now={now.data} onAsk={ask} />
    </div>
  );
}

/** Asking from anywhere: a deep run goes to its own page, all else into a new conversation. */
export function useAsk() {
  const [, go] = useLocation();
  return (question: string, wish: Wish = { mode: "fast", kinds: KINDS, when: { kind: "now" } }) => {
    if (wish.mode === "deep") {
      void deepen(question, wish).then((run) => run && go(`/r/${run.id}`));
      return;
    }
    const talk = newTalk();
    talk.ask(question, wish, null);
    goThere(talk, go);
    go("/");
  };
}

type Go = ReturnType<typeof useLocation>[1];

/** To the address of a conversation, as soon as it has one. */
function goThere(talk: Talk, go: Go): void {
  const stop = talk.subscribe(() => {
    if (!talk.threadId) return;
    stop();
    if (currentTalk() === talk) go(`/c/${talk.threadId}`, { replace: true });
  });
}

/** Begin a deep run; says why if it cannot. */
export async function deepen(question: string, wish: Wish): Promise<Run | null> {
  try {
    const as_of = momentOf(wish.when);
    return await call<Run>("/v1/runs", { body: { question, ...(as_of ? { as_of } : {}) } });
  } catch (error) {
    const { message, hint } = problemOf(error);
    say(`${message} ${hint}`, true);
    return null;
  }
}

function Fresh({ now }: { now: Now | undefined }) {
  if (!now) return <p className="strip">Looking at the sources…</p>;
  const { sources, fresh, newest_age_s } = now.freshness;
  if (!sources) {
    return (
      <Link className="strip ill" href="/sources">
        <span className="dot" /> No source is followed yet: add one
      </Link>
    );
  }
  return (
    <Link className={`strip ${fresh < sources ? "ill" : ""}`} href="/sources">
      <span className="dot" />
      {fresh} of {counted(sources, "source")} fresh
      {newest_age_s !== null && `, newest ${span(newest_age_s)} ago`}
    </Link>
  );
}

function Stories({ now, onAsk }: { now: Now | undefined; onAsk: (question: string) => void }) {
  if (!now?.stories.length) return null;
  return (
    <section className="stories" aria-label="What is happening">
      <h2>Happening now</h2>
      <ol>
        {now.stories.map((story) => (
          <StoryLine key={story.id} story={story} onAsk={onAsk} />
        ))}
      </ol>
    </section>
  );
}

function StoryLine({ story, onAsk }: { story: Story; onAsk: (question: string) => void }) {
  const hours = Math.round((story.bucket_s * story.spark.length) / 3600);
  return (
    <li>
      <Time at={story.newest_at} />
      <div>
        <p className="title">
          <a href={savedPath(story.saved_url)} target="_blank" rel="noopener" dir="auto">
            {calm(story.title)}
          </a>
        </p>
        <p className="facts">
          {counted(story.outlets, "outlet")} · <Words>{story.sources.slice(0, 3).join(", ")}</Words>{" "}
          ·{" "}
          <button type="button" className="link" onClick={() => onAsk(story.question)}>
            Ask about it
          </button>
        </p>
      </div>
      <Sparkline
        counts={story.spark}
        label={`${counted(story.documents, "document")} in ${hours} h`}
      />
    </li>
  );
}
