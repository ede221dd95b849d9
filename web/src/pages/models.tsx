/** What serves, what could serve, and what is being trained. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../api/client";
import { useSession, useStatus } from "../api/queries";
import { say } from "../ui/notices";
import { calm, Words } from "../ui/text";
import { Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { bytes, type Check, Checks } from "./gate";
import { Head, Part, tell } from "./parts";
import { Training } from "./training";

export interface Entry {
  id: string;
  passed: boolean;
  name: string;
  version: number;
  sha256: string;
  body_bytes: number;
  format: string;
  added_at: string;
  lineage: Record<string, string>;
  checks: Check[];
  state: "candidate" | "refused" | "serving" | "retired";
}
interface Registry {
  alias: string;
  entries: Entry[];
  serving: string | null;
  loaded: string[];
  failure: string;
  history: { at: string; what: "use" | "rollback" | "remove"; model: string; before: string }[];
}
interface Listed {
  data: { id: string; gnomon?: { mode?: string; writer?: string } }[];
}

const TONES: Record<string, string> = {
  ready: "good",
  serving: "good",
  loading: "some",
  candidate: "",
  retired: "",
  refused: "bad",
  failed: "bad",
  missing: "some",
};

export function ModelsPage() {
  return (
    <div className="page">
      <Head title="Models and runs" about="What writes and ranks here, and where it comes from." />
      <Serving />
      <Registered />
      <Training />
    </div>
  );
}

function Serving() {
  const status = useStatus();
  const listed = useQuery({
    queryKey: ["models"],
    queryFn: () => call<Listed>("/v1/models"),
    staleTime: 30_000,
  });
  return (
    <Part title="In use now">
      {status.error && !status.data && (
        <Trouble error={status.error} again={() => void status.refetch()} />
      )}
      {status.isPending && <Waiting rows={3} label="Looking at the models" />}
      <ul className="rows plain">
        {status.data?.models.map((model) => (
          <li key={`${model.role} ${model.name}`} className="item">
            <div>
              <p className="title">
                <Words>{model.name}</Words>
                <span className={`tag ${TONES[model.state] ?? ""}`}>{model.state}</span>
              </p>
              <p className="facts">
                {model.role} · <Words>{model.text}</Words>
                {!!model.body_bytes && ` · ${bytes(model.body_bytes)}`}
              </p>
            </div>
          </li>
        ))}
      </ul>
      {status.data && !status.data.models.length && (
        <p className="facts">No model is loaded: answers quote the sources' own words.</p>
      )}
      {listed.data && (
        <p className="facts">
          Programs ask for{" "}
          {listed.data.data.map((model, at) => (
            <span key={model.id}>
              {at > 0 && ", "}
              <code>{calm(model.id)}</code>
              {model.gnomon?.mode && ` (${calm(model.gnomon.mode)})`}
            </span>
          ))}
          .
        </p>
      )}
    </Part>
  );
}

function Registered() {
  const client = useQueryClient();
  const session = useSession();
  const [busy, setBusy] = useState("");
  const found = useQuery({
    queryKey: ["registry"],
    queryFn: () => call<Registry>("/v1/registry"),
    refetchInterval: 15_000,
    retry: false,
  });
  const admin = session.data?.role === "admin";
  const turn = async (path: string, name: string, body?: unknown) => {
    setBusy(name);
    try {
      const entry = await call<Entry>(path, { method: "POST", body });
      say(`${calm(entry.id)} serves now.`);
      await Promise.all(
        ["registry", "models", "status"].map((key) =>
          client.invalidateQueries({ queryKey: [key] }),
        ),
      );
    } catch (error) {
      tell(error);
    } finally {
      setBusy("");
    }
  };
  if (found.error) {
    return (
      <Part title="Own models">
        <Trouble error={found.error} again={() => void found.refetch()} />
      </Part>
    );
  }
  const registry = found.data;
  const uses = registry?.history ?? [];
  const canReturn = uses.some((each) => each.before);
  return (
    <Part
      title="Own models"
      about="A model may serve when its gate let it pass. Swapping drops no request."
    >
      {found.isPending && <Waiting rows={2} label="Looking at the registry" />}
      {registry?.failure && (
        <div className="banner trouble" role="alert">
          <Words>{registry.failure}</Words>
        </div>
      )}
      {registry && !registry.entries.length && (
        <Empty title="No model was made here yet.">
          <p>
            <code>gnomon forge demo</code> goes the whole way in miniature: text, tokens, training,
            a gate, and a model that serves.
          </p>
        </Empty>
      )}
      <ul className="rows plain">
        {[...(registry?.entries ?? [])].reverse().map((entry) => (
          <Model
            key={entry.id}
            entry={entry}
            busy={busy}
            onUse={
              admin
                ? () =>
                    void turn(`/v1/registry/${encodeURIComponent(entry.name)}/use`, entry.id, {
                      version: entry.version,
                    })
                : null
            }
          />
        ))}
      </ul>
      {admin && canReturn && (
        <p className="chips">
          <button
            type="button"
            className="quiet"
            disabled={busy !== ""}
            onClick={() => void turn("/v1/registry/rollback", "rollback")}
          >
            {busy === "rollback" ? "Going back…" : "Back to what served before"}
          </button>
        </p>
      )}
      {uses.length > 0 && (
        <details className="fold">
          <summary>What served when</summary>
          <ol className="steps wide">
            {[...uses].reverse().map((each) => (
              <li key={each.at}>
                <Time at={each.at} />
                <span>
                  <code>{calm(each.model)}</code>{" "}
                  {each.what === "remove" ? (
                    "was removed"
                  ) : (
                    <>
                      {each.what === "rollback" ? "came back for" : "took over from"}{" "}
                      {each.before ? <code>{calm(each.before)}</code> : "nothing"}
                    </>
                  )}
                </span>
              </li>
            ))}
          </ol>
        </details>
      )}
    </Part>
  );
}

function Model({ entry, busy, onUse }: { entry: Entry; busy: string; onUse: (() => void) | null }) {
  const missed = entry.checks.filter((check) => !check.passed).length;
  return (
    <li className="item">
      <div>
        <p className="title">
          <Words>{entry.id}</Words>
          <span className={`tag ${TONES[entry.state] ?? ""}`}>{entry.state}</span>
        </p>
        <p className="facts">
          {verdict(entry, missed)} · {bytes(entry.body_bytes)} · added <Time at={entry.added_at} />
        </p>
        <details className="more-of">
          <summary>Gate and lineage</summary>
          {entry.checks.length > 0 && <Checks checks={entry.checks} />}
          <dl className="lineage">
            {Object.entries(entry.lineage).map(([name, value]) => (
              <div key={name}>
                <dt>{calm(name)}</dt>
                <dd>
                  <code>{calm(value)}</code>
                </dd>
              </div>
            ))}
            <div>
              <dt>file</dt>
              <dd>
                <code>sha256 {entry.sha256}</code>
              </dd>
            </div>
          </dl>
        </details>
      </div>
      {onUse && entry.state !== "serving" && (
        <div className="deeds">
          <button
            type="button"
            className="quiet"
            disabled={!entry.passed || busy !== ""}
            title={entry.passed ? "" : "Its gate has not let it pass"}
            onClick={onUse}
            aria-label={`Use ${entry.id}`}
          >
            {busy === entry.id ? "Loading…" : "Use"}
          </button>
        </div>
      )}
    </li>
  );
}

function verdict(entry: Entry, missed: number): string {
  if (!entry.checks.length) return "no gate has judged it";
  if (missed) return `its gate refuses it: ${missed} of ${entry.checks.length} figures miss`;
  return `its gate let it pass, all ${entry.checks.length} figures`;
}
