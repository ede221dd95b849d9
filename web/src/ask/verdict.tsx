/** What a verdict is called and how it is marked. */
import type { Verdict, VerdictKind } from "../api/types";

export const VERDICTS: Record<VerdictKind, { mark: string; words: string }> = {
  supported: { mark: "✓", words: "Supported by these words" },
  partly: { mark: "~", words: "Partly supported" },
  not_supported: { mark: "✗", words: "Not supported" },
  contradicted: { mark: "✗", words: "Contradicted" },
};

export function Mark({ verdict }: { verdict: Verdict }) {
  const { mark, words } = VERDICTS[verdict.kind];
  return (
    <span className="mark" role="img" aria-label={words} title={words}>
      {mark}
    </span>
  );
}
