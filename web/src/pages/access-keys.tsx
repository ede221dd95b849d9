/** API keys: made, shown once, listed, revoked. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { call } from "../api/client";
import { calm, Words } from "../ui/text";
import { Time } from "../ui/time";
import { Trouble, Waiting } from "../ui/trouble";
import { copy, Part, useRemoval } from "./parts";

interface Key {
  id: string;
  user_id: string;
  label: string;
  hint: string;
  scopes: string[];
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
  revoked_at: string | null;
  requests_per_minute: number | null;
  tokens_per_minute: number | null;
}

const SCOPES: [string, string][] = [
  ["ask", "ask"],
  ["read", "read"],
  ["sources", "change sources"],
  ["files", "change files"],
  ["admin", "administer"],
];
const EXPIRIES: [string, string][] = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "a year"],
  ["", "never"],
];

interface KeysProps {
  /** Keys of all users, each with its owner. */
  everybody?: boolean;
  names?: readonly { id: string; name: string }[];
  scopes?: readonly string[];
}

export function KeysPart({ everybody = false, names = [], scopes }: KeysProps) {
  const client = useQueryClient();
  const { hidden, remove } = useRemoval("keys");
  const [made, setMade] = useState<{ key: string; label: string } | null>(null);
  const found = useQuery({
    queryKey: ["keys"],
    queryFn: () => call<{ keys: Key[] }>("/v1/keys"),
    retry: false,
  });
  const ownerless = everybody && !names.length;
  const keys = found.data?.keys.filter((key) => !hidden.has(`/v1/keys/${key.id}`));
  return (
    <Part
      title="API keys"
      about="For programs. A key may do what it was made for, as far as its user may."
    >
      {made && (
        <div className="banner once" role="status">
          <p>
            The key {made.label && <Words>{`“${made.label}”`}</Words>} is shown this once. Keep it
            now.
          </p>
          <p className="secret">
            <code>{made.key}</code>
          </p>
          <div className="chips">
            <button
              type="button"
              className="primary"
              onClick={() => copy(made.key, "The key is copied.")}
            >
              Copy
            </button>
            <button type="button" className="quiet" onClick={() => setMade(null)}>
              I have kept it
            </button>
          </div>
        </div>
      )}
      {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
      {found.isPending && <Waiting rows={1} label="Looking for keys" />}
      <ul className="rows plain">
        {keys?.map((key) => (
          <li key={key.id} className="item">
            <div>
              <p className="title">
                <Words>{key.label || "Key without a name"}</Words>
                <State of={key} />
              </p>
              <p className="facts">
                <code>{key.hint}…</code>
                {everybody && (
                  <>
                    {" · "}
                    <Words>{ownerName(key, names)}</Words>
                  </>
                )}{" "}
                · {key.scopes.join(", ")} · {limits(key)}
                {key.last_used_at ? (
                  <>
                    used <Time at={key.last_used_at} form="ago" />
                  </>
                ) : (
                  "never used"
                )}
                {key.expires_at && (
                  <>
                    {" · ends "}
                    <Time at={key.expires_at} />
                  </>
                )}
              </p>
            </div>
            {!key.revoked_at && (
              <div className="deeds">
                <button
                  type="button"
                  className="quiet"
                  aria-label={`Revoke ${calm(key.label || key.hint)}`}
                  onClick={() =>
                    remove(`/v1/keys/${key.id}`, `The key ${calm(key.label)} is revoked.`)
                  }
                >
                  Revoke
                </button>
              </div>
            )}
          </li>
        ))}
      </ul>
      {keys && !keys.length && (
        <p className="facts">
          {ownerless ? "A key belongs to an account: make one first." : "No key was made yet."}
        </p>
      )}
      {!ownerless && (
        <MakeKey
          names={everybody ? names : []}
          scopes={scopes ?? SCOPES.map(([scope]) => scope)}
          made={async (key) => {
            setMade(key);
            await client.invalidateQueries({ queryKey: ["keys"] });
          }}
        />
      )}
    </Part>
  );
}

const ownerName = (key: Key, names: KeysProps["names"]): string =>
  names?.find((user) => user.id === key.user_id)?.name ?? key.user_id;

function limits(key: Key): string {
  const parts: string[] = [];
  if (key.requests_per_minute) {
    parts.push(`${key.requests_per_minute.toLocaleString()} requests/min`);
  }
  if (key.tokens_per_minute) parts.push(`${key.tokens_per_minute.toLocaleString()} tokens/min`);
  return parts.length ? `${parts.join(", ")} · ` : "";
}

function State({ of }: { of: Key }) {
  if (of.revoked_at) return <span className="tag bad">revoked</span>;
  if (of.expires_at && new Date(of.expires_at) < new Date()) {
    return <span className="tag some">expired</span>;
  }
  return null;
}

interface MakeProps {
  names: readonly { id: string; name: string }[];
  scopes: readonly string[];
  made: (key: { key: string; label: string }) => Promise<void>;
}

function MakeKey({ names, scopes, made }: MakeProps) {
  const [error, setError] = useState<unknown>(null);
  const make = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const number = (name: string) => Number(data.get(name)) || undefined;
    setError(null);
    try {
      const key = await call<Key & { key: string }>("/v1/keys", {
        body: {
          label: String(data.get("label")),
          scopes: data.getAll("scope"),
          user: data.get("user") || undefined,
          expires_in_days: number("days"),
          requests_per_minute: number("requests"),
          tokens_per_minute: number("tokens"),
        },
      });
      form.reset();
      await made(key);
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <details className="fold">
      <summary>Make a key</summary>
      <form className="fields" onSubmit={(event) => void make(event)} autoComplete="off">
        <label className="choice">
          What it is for
          <input name="label" maxLength={100} required />
        </label>
        {names.length > 0 && (
          <label className="choice">
            Whose
            <select name="user">
              {names.map((user) => (
                <option key={user.id} value={user.name}>
                  {calm(user.name)}
                </option>
              ))}
            </select>
          </label>
        )}
        <label className="choice">
          Good for
          <select name="days" defaultValue="90">
            {EXPIRIES.map(([days, words]) => (
              <option key={days} value={days}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <label className="choice">
          Requests a minute
          <input name="requests" type="number" min={1} placeholder="as the server allows" />
        </label>
        <label className="choice">
          Tokens a minute
          <input name="tokens" type="number" min={1} placeholder="as the server allows" />
        </label>
        <fieldset className="scopes">
          <legend>It may</legend>
          {SCOPES.filter(([scope]) => scopes.includes(scope)).map(([scope, words]) => (
            <label key={scope} className="tick">
              <input
                type="checkbox"
                name="scope"
                value={scope}
                defaultChecked={scope === "ask" || scope === "read"}
              />
              {words}
            </label>
          ))}
        </fieldset>
        <button type="submit" className="primary">
          Make key
        </button>
        {error !== null && <Trouble error={error} />}
      </form>
    </details>
  );
}
