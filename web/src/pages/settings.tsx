/** Who is signed in, how the page looks, what is remembered, and how the server is set. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { call, setCsrf } from "../api/client";
import { useSession, useStatus } from "../api/queries";
import { Words } from "../ui/text";
import { applyTheme, type Theme, theme } from "../ui/theme";
import { Time } from "../ui/time";
import { Waiting } from "../ui/trouble";
import { KeysPart } from "./access-keys";
import { bytes } from "./gate";
import { MemoryPart } from "./memory";
import { Head, Part, tell } from "./parts";
import { SettingsTree } from "./settings-tree";

const THEMES: [Theme, string][] = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];
const SCOPES: Record<string, string[]> = {
  reader: ["ask", "read"],
  editor: ["ask", "read", "sources", "files"],
};

export function SettingsPage() {
  const session = useSession();
  const role = session.data?.role;
  const guest = session.data?.sign_in_needed;
  return (
    <div className="page">
      <Head title="Settings" />
      <Account />
      <Appearance />
      <MemoryPart />
      {guest && role && role !== "admin" && <KeysPart scopes={SCOPES[role] ?? []} />}
      <SettingsTree />
      <About />
    </div>
  );
}

function Account() {
  const session = useSession();
  const client = useQueryClient();
  const leave = async () => {
    try {
      await call("/v1/session", { method: "DELETE" });
      setCsrf("");
      // Nothing of what was read stays for whoever comes next.
      await client.resetQueries();
    } catch (error) {
      tell(error);
    }
  };
  const who = session.data;
  if (!who) return <Waiting rows={1} label="Looking who is signed in" />;
  return (
    <Part title="You">
      {who.sign_in_needed ? (
        <div className="bar">
          <p>
            Signed in as{" "}
            <strong>
              <Words>{who.name ?? ""}</Words>
            </strong>
            , {who.role}
            {who.expires_at && (
              <>
                {" "}
                until <Time at={who.expires_at} />
              </>
            )}
            .
          </p>
          <button type="button" className="quiet" onClick={() => void leave()}>
            Sign out
          </button>
        </div>
      ) : (
        <p>
          Nobody has to sign in: only this machine can reach this server.{" "}
          <Link href="/people">Make accounts</Link> to let others in.
        </p>
      )}
      {who.sign_in_needed && who.role === "admin" && (
        <p className="facts">
          <Link href="/people">Users and keys</Link>
        </p>
      )}
    </Part>
  );
}

function Appearance() {
  const [chosen, setChosen] = useState(theme());
  return (
    <Part title="Appearance">
      <fieldset className="chips">
        <legend className="sr">Theme</legend>
        {THEMES.map(([value, name]) => (
          <button
            key={value}
            type="button"
            className="chip"
            aria-pressed={chosen === value}
            onClick={() => {
              applyTheme(value);
              setChosen(value);
            }}
          >
            {name}
          </button>
        ))}
      </fieldset>
    </Part>
  );
}

function About() {
  const status = useStatus();
  const { data } = status;
  if (!data) return null;
  return (
    <Part title="This server">
      <dl className="lineage">
        <div>
          <dt>Version</dt>
          <dd>Gnomon {data.version}</dd>
        </div>
        <div>
          <dt>Remembers</dt>
          <dd>
            {(data.record.documents ?? 0).toLocaleString()} documents,{" "}
            {(data.record.versions ?? 0).toLocaleString()} versions,{" "}
            {bytes(data.record.body_bytes ?? 0)}
          </dd>
        </div>
        <div>
          <dt>Index</dt>
          <dd>{bytes(data.index.body_bytes ?? 0)}</dd>
        </div>
        <div>
          <dt>Its clock</dt>
          <dd>
            <Time at={data.now} />
          </dd>
        </div>
      </dl>
    </Part>
  );
}
