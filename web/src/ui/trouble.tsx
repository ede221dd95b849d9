/** What went wrong and what to do next; what is empty and how to fill it. */
import type { ReactNode } from "react";
import { problemOf } from "../api/client";

export function Trouble({ error, again }: { error: unknown; again?: (() => void) | undefined }) {
  const problem = problemOf(error);
  return (
    <div className="banner trouble" role="alert">
      <p>{problem.message}</p>
      {problem.hint && <p className="hint">{problem.hint}</p>}
      {again && (
        <button type="button" className="quiet" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="headline">{title}</p>
      {children}
    </div>
  );
}

/** A place that is being filled, of the height that it will have. */
export function Waiting({ rows = 3, label = "Loading" }: { rows?: number; label?: string }) {
  return (
    <div className="waiting" role="status" aria-label={label}>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows without content have no other name
        <span key={row} />
      ))}
    </div>
  );
}
