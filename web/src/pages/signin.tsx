/** Coming in: a name with its password, a key, or the house's own sign-in. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call, setCsrf } from "../api/client";
import { useSession } from "../api/queries";
import type { Session } from "../api/types";
import { Trouble } from "../ui/trouble";
import { Head } from "./parts";

type Way = "password" | "key";

export function SignInPage() {
  const client = useQueryClient();
  const session = useSession();
  const [way, setWay] = useState<Way>("password");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const enter = async (form: HTMLFormElement) => {
    setBusy(true);
    setError(null);
    try {
      const body = Object.fromEntries(new FormData(form));
      const signed = await call<Session>("/v1/session", { body });
      setCsrf(signed.csrf ?? "");
      // Whatever was asked for before was asked for by nobody.
      await client.resetQueries();
    } catch (problem) {
      setError(problem);
      form.querySelector<HTMLInputElement>("[type=password]")?.select();
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="signin">
      <Head title="Sign in" />
      {session.data?.openid && (
        <p>
          <a className="primary" href="/v1/session/oidc">
            Sign in with your organisation
          </a>
        </p>
      )}
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void enter(event.currentTarget);
        }}
      >
        {way === "password" ? (
          <>
            <label>
              Name
              <input
                name="name"
                autoComplete="username"
                autoCapitalize="none"
                spellCheck={false}
                maxLength={200}
                required
                // biome-ignore lint/a11y/noAutofocus: the page is there for this alone
                autoFocus
              />
            </label>
            <label>
              Password
              <input
                name="password"
                type="password"
                autoComplete="current-password"
                maxLength={1_000}
                required
              />
            </label>
          </>
        ) : (
          <label>
            Key
            <input
              key="key"
              name="key"
              type="password"
              autoComplete="off"
              maxLength={500}
              required
              // biome-ignore lint/a11y/noAutofocus: it was just chosen
              autoFocus
            />
          </label>
        )}
        {error !== null && <Trouble error={error} />}
        <div className="chips">
          <button type="submit" className="primary" disabled={busy}>
            {busy ? "Signing in…" : "Sign in"}
          </button>
          <button
            type="button"
            className="quiet"
            onClick={() => {
              setError(null);
              setWay(way === "key" ? "password" : "key");
            }}
          >
            {way === "key" ? "Use a name and a password" : "Use a key"}
          </button>
        </div>
      </form>
      <p className="facts">
        {way === "key"
          ? "The key of an account signs that account in; the server's own key (server.api_key) its operator."
          : "No account? Whoever runs this server makes one with "}
        {way === "password" && <code>gnomon users add NAME --password</code>}
      </p>
    </div>
  );
}
