/** What a deep run may spend, and what it has spent. */
import { useEffect, useState } from "react";
import type { Run } from "../api/types";
import { counted } from "../ask/thread";
import { span } from "../ui/time";

export function Budget({ run }: { run: Run }) {
  const running = run.status === "running";
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!running) return;
    const timer = window.setInterval(() => setNow(Date.now()), 500);
    return () => window.clearInterval(timer);
  }, [running]);
  const { budget, spent } = run;
  // What is stored is as of the last step; while it runs, the clock goes on.
  const since = (now - new Date(run.created_at).getTime()) / 1000;
  const seconds = running
    ? Math.min(budget.seconds, Math.max(spent.seconds, since))
    : spent.seconds;
  const tokens = spent.input_tokens + spent.output_tokens;
  return (
    <section className="budget" aria-label="Budget used">
      <Meter
        name="Steps"
        value={spent.steps}
        most={budget.steps}
        words={`${spent.steps} of ${budget.steps}`}
      />
      <Meter
        name="Time"
        value={seconds}
        most={budget.seconds}
        words={`${span(seconds)} of ${span(budget.seconds)}`}
      />
      {budget.usd !== null ? (
        <Meter
          name="Money"
          value={spent.usd}
          most={budget.usd}
          words={`$${spent.usd.toFixed(3)} of $${budget.usd.toFixed(2)}`}
        />
      ) : (
        <p>
          <span>Money</span> ${spent.usd.toFixed(3)}, no limit set
        </p>
      )}
      {tokens > 0 && (
        <p>
          <span>Model</span> {counted(tokens, "token")}
        </p>
      )}
    </section>
  );
}

function Meter({
  name,
  value,
  most,
  words,
}: {
  name: string;
  value: number;
  most: number;
  words: string;
}) {
  return (
    <p>
      <span>{name}</span> {words}
      <progress aria-label={name} value={Math.min(value, most)} max={most} />
    </p>
  );
}
