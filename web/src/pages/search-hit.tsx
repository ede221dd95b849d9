/** One thing that was found: its words with the matches marked, and where it came from. */
import type { SearchHit } from "../api/types";
import { leadsOut, Marked, Outward, savedPath, siteName, Words } from "../ui/text";
import { Time } from "../ui/time";
import { languageName } from "./parts";

export function Hit({ hit, words }: { hit: SearchHit; words: string }) {
  const saved = savedPath(hit.saved_url);
  const title = hit.title || hit.author || siteName(hit) || hit.key;
  const head = hit.title ? (
    <Marked text={hit.title} spans={hit.title_highlights} />
  ) : (
    <Words>{title}</Words>
  );
  const exact = hit.highlights.length + hit.title_highlights.length > 0;
  return (
    <li>
      <p className="title">
        <a href={saved} target="_blank" rel="noopener">
          {head}
        </a>
      </p>
      {hit.withheld ? (
        <p className="facts">The source's terms do not allow showing its text.</p>
      ) : (
        <p className="snippet" dir="auto">
          <Marked text={hit.snippet} spans={hit.highlights} />
        </p>
      )}
      <p className="facts">
        <Words>{siteName(hit)}</Words>
        {hit.author && hit.author !== title && (
          <>
            {" · "}
            <Words>{hit.author}</Words>
          </>
        )}
        {" · "}
        <Time at={hit.published_at ?? hit.observed_at} claim={!!hit.published_at} />
        {!hit.published_at && " (seen; it carries no date)"} · {hit.kind}
        {hit.lang !== "und" && ` · ${languageName(hit.lang)}`}
        {hit.copies > 1 && ` · same copy ×${hit.copies}`}
        {words && !exact && !hit.withheld && " · close in meaning, none of the words"}
        {" · "}
        <a href={saved} target="_blank" rel="noopener">
          saved copy
        </a>
        {leadsOut(hit.url) && (
          <>
            {" · "}
            <Outward url={hit.url}>original</Outward>
          </>
        )}
        {hit.version > 1 && (
          <>
            {" · "}
            <a href={`/changes/${encodeURIComponent(hit.key)}?from=${hit.version - 1}`}>
              version {hit.version}: what changed
            </a>
          </>
        )}
      </p>
    </li>
  );
}
