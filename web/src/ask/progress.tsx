/** What is being done; unfolds while working and folds when done. */
import { useEffect, useState } from "react";
import { calm } from "../ui/text";
import { Dated } from "../ui/time";
import type { Turn } from "./thread";

export function Progress({ turn, onStop }: { turn: Turn; onStop: () => void }) {
  const running = turn.state === "running";
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    if (!running) return;
    const timer = window.setInterval(
      () => setSeconds(Math.round((Date.now() - turn.startedAt) / 1000)),
      500,
    );
    return () => window.clearInterval(timer);
  }, [running, turn.startedAt]);
  if (!turn.steps.length) return null;
  const newest = turn.steps.at(-1)?.text ?? "";
  return (
    <details className="progress" open={running && turn.steps.length > 1}>
      <summary>
        {running ? (
          <span className="spinner" aria-hidden="true" />
        ) : (
          <span aria-hidden="true">✓</span>
        )}
        <span role="status">{running ? calm(newest) : `${turn.steps.length} steps`}</span>
        {running && (
          <>
            <span className="elapsed" aria-hidden="true">
              {seconds} s
            </span>
            <button type="button" className="quiet" onClick={onStop}>
              Stop
            </button>
          </>
        )}
      </summary>
      <ol>
        {turn.steps.map((step) => (
          <li key={`${step.atMs} ${step.text}`}>
            {calm(step.text)} <span className="elapsed">{(step.atMs / 1000).toFixed(1)} s</span>
          </li>
        ))}
        {turn.plan?.notes.map((note) => (
          <li key={note}>
            <Dated>{note}</Dated>
          </li>
        ))}
      </ol>
    </details>
  );
}
