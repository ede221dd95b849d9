/** What a pasted text would follow, before it is followed. */
import { counted } from "../ask/thread";
import { Words } from "../ui/text";
import { type Secret, Secrets } from "./secrets";

export interface Recognised {
  count: number;
  known: number;
  sources: {
    name: string;
    type: string;
    title: string;
    url: string;
    followed: boolean;
    problem: string;
    keys: Secret[];
  }[];
  /** Entries of a list that cannot be followed. */
  skipped?: { entry: string; reason: string }[];
  skipped_count?: number;
}

/** `enter`: whether secrets can be entered here, as one that is pasted may need. */
export function Preview({ found, enter = false }: { found: Recognised; enter?: boolean }) {
  const rest = found.count - found.sources.length;
  return (
    <div className="recognised" role="status">
      <p className="facts">
        {counted(found.count, "source")}
        {found.known > 0 && `, ${found.known.toLocaleString()} followed already`}
      </p>
      <ul>
        {found.sources.map(({ name, type, title, url, followed, problem, keys }) => (
          <li key={name}>
            <strong>
              <Words>{title || name}</Words>
            </strong>{" "}
            <span className="facts">
              <Words>
                {[type, url || name, followed && "followed already"].filter(Boolean).join(" · ")}
              </Words>
            </span>
            {problem && (
              <p className="bad">
                <Words>{problem}</Words>
              </p>
            )}
            {enter && found.count === 1 && !followed && <Secrets secrets={keys} />}
          </li>
        ))}
      </ul>
      {rest > 0 && <p className="facts">And {rest.toLocaleString()} more.</p>}
      {!!found.skipped?.length && (
        <details>
          <summary>
            {(found.skipped_count ?? 0).toLocaleString()} of the list cannot be followed
          </summary>
          <ul>
            {found.skipped.map(({ entry, reason }) => (
              <li key={entry}>
                <Words>{`${entry}: ${reason}`}</Words>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}
