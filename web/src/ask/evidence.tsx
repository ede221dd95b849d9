/** The sources panel: every passage that was cited, as it was seen. */
import type { Citation } from "../api/types";
import { calm, leadsOut, Outward, savedPath, siteName, Words } from "../ui/text";
import { Time } from "../ui/time";

export function Evidence({ citations }: { citations: readonly Citation[] }) {
  if (!citations.length) return null;
  return (
    <details className="evidence">
      <summary>Evidence ({citations.length})</summary>
      <ol>
        {citations.map((citation) => (
          <Passage key={citation.number} citation={citation} />
        ))}
      </ol>
    </details>
  );
}

function Passage({ citation }: { citation: Citation }) {
  const headline = citation.title || citation.author || siteName(citation);
  const saved = citation.saved_url && savedPath(citation.saved_url);
  return (
    <li value={citation.number}>
      <p className="title">
        {leadsOut(citation.url) ? (
          <Outward url={citation.url}>
            <Words>{headline}</Words>
          </Outward>
        ) : saved ? (
          <a href={saved} target="_blank" rel="noopener">
            <Words>{headline}</Words>
          </a>
        ) : (
          <Words>{headline}</Words>
        )}
      </p>
      <blockquote dir="auto">{calm(citation.quote)}</blockquote>
      <p className="facts">
        {siteName(citation)} ·{" "}
        <Time at={citation.published_at ?? citation.observed_at} claim={!!citation.published_at} />
        {citation.copies > 1 && ` · same copy ×${citation.copies}`}
        {saved && (
          <>
            {" · "}
            <a href={saved} target="_blank" rel="noopener">
              saved copy
            </a>
          </>
        )}
      </p>
    </li>
  );
}
