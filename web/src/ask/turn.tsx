/** One question and its answer: progress, checked sentences, evidence, and what to do next. */
import { memo, useState } from "react";
import { call, problemOf } from "../api/client";
import type { Answer, Citation, Disagreement, Sentence, Superseded } from "../api/types";
import { say } from "../ui/notices";
import { calm, Words } from "../ui/text";
import { Dated, span, Time } from "../ui/time";
import { Trouble } from "../ui/trouble";
import { momentOf, type Wish } from "./asked";
import { Changed } from "./changed";
import { Composer } from "./composer";
import { Evidence } from "./evidence";
import { asMarkdown } from "./export";
import { aboutGnomon, notesBeside } from "./notes";
import { nameOf, Pill } from "./pill";
import { Progress } from "./progress";
import { counted, type Talk, type Turn } from "./thread";
import { Timeline } from "./timeline";
import { Mark, VERDICTS } from "./verdict";

interface TurnProps {
  talk: Talk;
  turn: Turn;
  /** Changes with every change, so that a turn that is done is not drawn again. */
  version: string;
  /** Whether nothing follows on it yet. */
  last: boolean;
  onAsk: (question: string, wish: Wish, parent: string | null) => void;
}

export const TurnView = memo(
  function TurnView({ talk, turn, last, onAsk }: TurnProps) {
    const [editing, setEditing] = useState(false);
    const branches = talk.branches(turn.parent);
    const at = turn.answer?.as_of ?? turn.plan?.as_of ?? momentOf(turn.wish.when);
    return (
      <article
        className={`turn ${at ? "past" : ""}`}
        aria-label={turn.question}
        aria-busy={turn.state === "running"}
      >
        {editing ? (
          <Composer
            initial={turn.question}
            wish={turn.wish}
            autoFocus
            onCancel={() => setEditing(false)}
            onAsk={(question, wish) => {
              setEditing(false);
              onAsk(question, wish, turn.parent);
            }}
          />
        ) : (
          <header className="asked">
            <h2 dir="auto">{turn.question}</h2>
            {turn.state !== "running" && (
              <button type="button" className="quiet" onClick={() => setEditing(true)}>
                Edit
              </button>
            )}
            {branches.length > 1 && (
              <Branches branches={branches} turn={turn} onChoose={(next) => talk.choose(next)} />
            )}
          </header>
        )}
        {at && (
          <p className="past-band">
            As of <Time at={at} />, <Time at={at} form="ago" />: nothing seen later is used.
          </p>
        )}
        <Progress turn={turn} onStop={() => talk.stop(turn)} />
        <Body turn={turn} />
        {turn.state === "stopped" && (
          <p className="banner">
            Stopped.{" "}
            {turn.sentences.length
              ? "What stands above was checked."
              : "Nothing had been written yet."}{" "}
            <button type="button" className="quiet" onClick={() => talk.again(turn)}>
              Ask again
            </button>
          </p>
        )}
        {turn.problem && <Trouble error={turn.problem} again={() => talk.again(turn)} />}
        {turn.answer && <After talk={talk} turn={turn} answer={turn.answer} onAsk={onAsk} />}
        {last && !!turn.answer?.follow_ups?.length && (
          <section className="follow-ups" aria-label="Questions that follow">
            {turn.answer.follow_ups.map((question) => (
              <button
                key={question}
                type="button"
                className="chip"
                onClick={() => onAsk(question, turn.wish, turn.id)}
              >
                {calm(question)}
              </button>
            ))}
          </section>
        )}
      </article>
    );
  },
  (before, after) => before.version === after.version && before.turn === after.turn,
);

function Branches({
  branches,
  turn,
  onChoose,
}: {
  branches: Turn[];
  turn: Turn;
  onChoose: (turn: Turn) => void;
}) {
  const at = branches.indexOf(turn);
  const move = (by: number) => {
    const next = branches[at + by];
    if (next) onChoose(next);
  };
  return (
    <span className="branches">
      <button
        type="button"
        aria-label="Earlier version"
        disabled={at === 0}
        onClick={() => move(-1)}
      >
        ‹
      </button>
      {at + 1} of {branches.length}
      <button
        type="button"
        aria-label="Later version"
        disabled={at === branches.length - 1}
        onClick={() => move(1)}
      >
        ›
      </button>
    </span>
  );
}

export function Body({ turn }: { turn: Turn }) {
  const { answer } = turn;
  if (answer?.abstained) return <Abstention answer={answer} />;
  return (
    <ol className="sentences" aria-live="polite" aria-relevant="additions">
      {turn.sentences.map((sentence, at) => (
        <Line
          // biome-ignore lint/suspicious/noArrayIndexKey: sentences only arrive, at the end
          key={at}
          sentence={sentence}
          citations={turn.citations}
          against={of(answer?.disagreements, at)}
          before={of(answer?.superseded, at)}
        />
      ))}
    </ol>
  );
}

/** One and the same, so that a sentence without any is not drawn again. */
const NONE: readonly never[] = [];

function of<T extends { sentence: number }>(all: readonly T[] | undefined, at: number) {
  const found = all?.filter((each) => each.sentence === at);
  return found?.length ? found : NONE;
}

interface LineProps {
  sentence: Sentence;
  citations: Record<number, Citation>;
  against?: readonly Disagreement[];
  before?: readonly Superseded[];
}

export const Line = memo(function Line({
  sentence,
  citations,
  against = NONE,
  before = NONE,
}: LineProps) {
  const { verdict } = sentence;
  const cited = sentence.citations.map((n) => citations[n]).filter((c): c is Citation => !!c);
  return (
    <li className={verdict.kind}>
      <Mark verdict={verdict} />
      <div>
        <p>
          <span className="words" dir="auto">
            {calm(sentence.text)}
          </span>{" "}
          {cited.map((citation) => (
            <Pill key={citation.number} citation={citation} verdict={verdict} />
          ))}
          {sentence.origins > 1 && (
            <span className="origins" title={`Also said by ${sentence.also.join(", ")}`}>
              {sentence.origins} independent origins
            </span>
          )}
        </p>
        {verdict.reasons.length > 0 && (
          <p className="reasons">
            {VERDICTS[verdict.kind].words}: {verdict.reasons.map(calm).join("; ")}
          </p>
        )}
        {sentence.until && (
          <p className="reasons">
            Out of date since <Time at={sentence.until} />: a newer statement excludes it.
          </p>
        )}
        {before.map((old) => (
          <p className="was" key={old.citation.key}>
            Until <Time at={old.until} /> it was: <Words>{old.text}</Words>{" "}
            <Pill citation={old.citation} verdict={null} />
          </p>
        ))}
        {against.map((other) => (
          <div className="disagreement" key={other.citation.key}>
            <p className="headline">Another origin says otherwise</p>
            <div className="sides">
              <blockquote dir="auto">
                {calm(sentence.text)}
                <footer>
                  {cited[0] && nameOf(cited[0])} ·{" "}
                  <Time
                    at={cited[0]?.published_at ?? cited[0]?.observed_at}
                    claim={!!cited[0]?.published_at}
                  />
                </footer>
              </blockquote>
              <blockquote dir="auto">
                {calm(other.other)}
                <footer>
                  <Pill citation={other.citation} verdict={null} /> ·{" "}
                  <Time
                    at={other.citation.published_at ?? other.citation.observed_at}
                    claim={!!other.citation.published_at}
                  />
                </footer>
              </blockquote>
            </div>
          </div>
        ))}
      </div>
    </li>
  );
});

function Abstention({ answer }: { answer: Answer }) {
  return (
    <div className="abstained" role="status">
      <p className="headline">The evidence does not contain an answer.</p>
      {answer.closest ? (
        <p>
          Closest passage: <q dir="auto">{calm(answer.closest.quote)}</q>{" "}
          <Pill citation={answer.closest} verdict={null} />
        </p>
      ) : (
        <p>No passage came close. Try other words, or add a source that covers this.</p>
      )}
    </div>
  );
}

interface AfterProps {
  talk: Talk;
  turn: Turn;
  answer: Answer;
  onAsk: TurnProps["onAsk"];
}

function After({ talk, turn, answer, onAsk }: AfterProps) {
  const [comparing, setComparing] = useState(false);
  return (
    <>
      <Freshness answer={answer} />
      <Actions
        talk={talk}
        turn={turn}
        answer={answer}
        onCompare={() => setComparing(!comparing)}
        comparing={comparing}
      />
      {comparing && <Changed question={turn.question} since={answer.as_of ?? answer.created_at} />}
      {!aboutGnomon(answer) && (
        <>
          <Evidence citations={answer.citations} />
          <Timeline
            answer={answer}
            onMove={(at) =>
              onAsk(
                turn.question,
                { ...turn.wish, when: at ? { kind: "moment", at } : { kind: "now" } },
                turn.parent,
              )
            }
          />
        </>
      )}
    </>
  );
}

export function Freshness({ answer }: { answer: Answer }) {
  const { freshness } = answer;
  const notes = notesBeside(answer);
  const moment = answer.as_of ? "before that moment" : "old";
  const total = answer.timings_ms.whole;
  const own = aboutGnomon(answer);
  return (
    <footer className="freshness">
      <ul className="facts row">
        {own ? (
          <li>Gnomon about itself</li>
        ) : (
          <>
            <li>
              {freshness.newest_at ? (
                <>
                  Newest evidence {span(freshness.newest_age_s ?? 0)} {moment} (
                  <Time at={freshness.newest_at} />)
                </>
              ) : (
                "No evidence was used"
              )}
            </li>
            <li>{counted(freshness.searched, "document")} searched</li>
          </>
        )}
        {total !== undefined && <li>{(total / 1000).toFixed(total < 1000 ? 2 : 1)} s</li>}
        {!own && (
          <li>
            {answer.writer === "extractive"
              ? "written in the sources' own words"
              : `written by ${answer.writer}`}
          </li>
        )}
      </ul>
      {freshness.silent.length > 0 && (
        <details className="silent">
          <summary>
            {answer.as_of ? "Silent at that moment" : "Silent now"}: {silentNames(freshness.silent)}
          </summary>
          <ul>
            {freshness.silent.map((source) => (
              <li key={source.name}>
                <strong>{source.title || source.name}</strong>{" "}
                <Dated>{source.text || source.state}</Dated>
              </li>
            ))}
          </ul>
        </details>
      )}
      {notes.length > 0 && (
        <ul className="notes">
          {notes.map((note) => (
            <li key={note}>
              <Dated>{note}</Dated>
            </li>
          ))}
        </ul>
      )}
    </footer>
  );
}

function silentNames(silent: Answer["freshness"]["silent"]): string {
  const names = silent.slice(0, 3).map((source) => source.title || source.name);
  return silent.length > 3 ? `${names.join(", ")} and ${silent.length - 3} more` : names.join(", ");
}

interface ActionsProps {
  talk: Talk;
  turn: Turn;
  answer: Answer;
  comparing: boolean;
  onCompare: () => void;
}

function Actions({ talk, turn, answer, comparing, onCompare }: ActionsProps) {
  const copy = () => {
    navigator.clipboard.writeText(asMarkdown(answer)).then(
      () => say("Copied, with its citations."),
      () => say("The browser did not allow copying.", true),
    );
  };
  const watch = () => {
    call("/v1/watches", { body: { question: turn.question } }).then(
      () => say("Watching. You will see it under Watches when the answer changes."),
      (error) => say(problemOf(error).message, true),
    );
  };
  const share = async () => {
    try {
      const shared = await call<{ share_url: string }>(`/v1/threads/${talk.threadId}/share`, {
        method: "POST",
      });
      const address = `${location.origin}/s/${shared.share_url.split("/").pop()}`;
      await navigator.clipboard.writeText(address).catch(() => {});
      say(`Anybody with this address can read the conversation: ${address}`);
    } catch (error) {
      say(problemOf(error).message, true);
    }
  };
  return (
    <fieldset className="actions">
      <legend className="sr">What to do with this answer</legend>
      {!aboutGnomon(answer) && (
        <>
          <button type="button" onClick={onCompare} aria-expanded={comparing}>
            What changed since?
          </button>
          <button type="button" onClick={watch}>
            Watch this
          </button>
        </>
      )}
      <button type="button" onClick={copy}>
        Copy
      </button>
      <button type="button" onClick={() => talk.again(turn)}>
        Ask again
      </button>
      {talk.threadId && (
        <>
          <button type="button" onClick={share}>
            Share
          </button>
          <a href={`/v1/threads/${talk.threadId}/export`} download>
            Export
          </a>
        </>
      )}
    </fieldset>
  );
}
