/** What a pasted text would follow, before it is followed. */
import { counted } from "../ask/thread";
import { Words } from "../ui/text";

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
    keys: { name: string; description: string; set: boolean }[];
  }[];
}

export function Preview({ found }: { found: Recognised }) {
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
            {keys.some((each) => !each.set) && (
              <p className="facts">
                It can use a key:{" "}
                {keys
                  .filter((each) => !each.set)
                  .map((each) => each.name)
                  .join(", ")}
                .
              </p>
            )}
          </li>
        ))}
      </ul>
      {rest > 0 && <p className="facts">And {rest.toLocaleString()} more.</p>}
    </div>
  );
}
