/** Entering the secrets of a source. They are only ever sent, never shown. */
import { calm } from "../ui/text";

export interface Secret {
  name: string;
  description: string;
  set: boolean;
}

const spoken = (name: string): string => {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

export function Secrets({ secrets }: { secrets: readonly Secret[] }) {
  if (!secrets.length) return null;
  return (
    <fieldset className="stack secrets">
      <legend className="sr">Secrets</legend>
      {secrets.map(({ name, description, set }) => (
        <label key={name}>
          {calm(spoken(name))}
          <input
            type="password"
            name={`secret:${name}`}
            maxLength={2_000}
            autoComplete="off"
            spellCheck={false}
            placeholder={set ? "Set. Enter another to replace it" : "Not set"}
          />
          {description && <span className="facts">{calm(description.replaceAll("`", ""))}</span>}
        </label>
      ))}
    </fieldset>
  );
}

/** What was entered, as settings of the source; fields that were left empty change nothing. */
export function secretsIn(form: HTMLFormElement): Record<string, string> {
  const entered: Record<string, string> = {};
  for (const [name, value] of new FormData(form)) {
    if (name.startsWith("secret:") && String(value).trim()) {
      entered[name.slice("secret:".length)] = String(value).trim();
    }
  }
  return entered;
}
