/** A deep run: what it does, what it found, what it spent, and its report. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useLocation, useParams } from "wouter";
import { call, events, isAbort, text } from "../api/client";
import type { Run } from "../api/types";
import { counted } from "../ask/thread";
import { VERDICTS } from "../ask/verdict";
import { calm, Words } from "../ui/text";
import { Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { Budget } from "./budget";
import { deepen } from "./now";
import { copy, Head, Part, tell } from "./parts";
import { Notebook, ReportView } from "./report";
import { DEEDS, RUN_STATES } from "./run-words";

interface Deed {
  n: number;
  at: string;
  name: string;
  text: string;
}

export function RunPage() {
  const { id = "" } = useParams<{ id: string }>();
  const path = `/v1/runs/${encodeURIComponent(id)}`;
  const found = useQuery({
    queryKey: ["run", id],
    queryFn: () => call<Run>(path),
    retry: false,
    // The events say when there is something new; this is for when their stream is cut.
    refetchInterval: (query) => (query.state.data?.status === "running" ? 5_000 : false),
  });
  const deeds = useDeeds(id, found.data !== undefined);
  if (found.error && !found.data) {
    return (
      <div className="page">
        <Head title="Deep run" />
        <Trouble error={found.error} again={() => void found.refetch()} />
      </div>
    );
  }
  const run = found.data;
  if (!run) return <Waiting rows={5} label="Opening the run" />;
  return (
    <div className="page run">
      <Head
        title={calm(run.question)}
        about={
          <>
            Deep run, begun <Time at={run.created_at} />
            {" · "}
            <span className={`tag ${RUN_STATES[run.status].tone}`}>
              {RUN_STATES[run.status].words}
            </span>
          </>
        }
      >
        <Actions run={run} path={path} />
      </Head>
      {run.as_of && (
        <p className="past-band">
          As of <Time at={run.as_of} />, <Time at={run.as_of} form="ago" />: nothing seen later is
          used.
        </p>
      )}
      <Budget run={run} />
      {run.ended && run.status !== "running" && (
        <p className={run.status === "failed" ? "banner trouble" : "facts"}>
          <Words>{run.ended}</Words>
        </p>
      )}
      {run.report && <ReportView report={run.report} />}
      <Found run={run} />
      <Steps run={run} deeds={deeds} />
    </div>
  );
}

/** The run's events, from the first; goes on behind the last one if the stream breaks. */
function useDeeds(id: string, known: boolean): Deed[] {
  const client = useQueryClient();
  const [deeds, setDeeds] = useState<Deed[]>([]);
  useEffect(() => {
    if (!known) return;
    const control = new AbortController();
    const read = { last: 0, ended: false };
    let asked = 0;
    const renew = () => {
      window.clearTimeout(asked);
      asked = window.setTimeout(() => client.invalidateQueries({ queryKey: ["run", id] }), 250);
    };
    const follow = async () => {
      const stream = events(`/v1/runs/${encodeURIComponent(id)}/events`, {
        query: { after: read.last },
        signal: control.signal,
      });
      for await (const event of stream) {
        const deed = event.data as Deed;
        read.last = deed.n;
        read.ended = deed.name === "ended";
        setDeeds((before) => [...before.filter((each) => each.n < deed.n), deed]);
        renew();
      }
    };
    const keep = async () => {
      while (!control.signal.aborted && !read.ended) {
        try {
          await follow();
        } catch (error) {
          if (isAbort(error)) return;
        }
        // A finished stream of an unfinished run: the server stopped. It resumes the run when it is back.
        if (!read.ended) await new Promise((resolve) => window.setTimeout(resolve, 2_000));
      }
    };
    setDeeds([]);
    void keep();
    return () => {
      control.abort();
      window.clearTimeout(asked);
    };
  }, [id, known, client]);
  return deeds;
}

function Actions({ run, path }: { run: Run; path: string }) {
  const client = useQueryClient();
  const [, go] = useLocation();
  const cancel = () => {
    call<Run>(`${path}/cancel`, { method: "POST" })
      .then((next) => client.setQueryData(["run", run.id], next))
      .catch(tell);
  };
  const again = async () => {
    const when = run.as_of
      ? ({ kind: "moment", at: run.as_of } as const)
      : ({ kind: "now" } as const);
    const next = await deepen(run.question, { mode: "deep", kinds: [], when });
    if (next) go(`/r/${next.id}`);
  };
  if (run.status === "running") {
    return (
      <button type="button" className="quiet" onClick={cancel}>
        Stop and report
      </button>
    );
  }
  return (
    <>
      {run.report && (
        <>
          <button
            type="button"
            className="quiet"
            onClick={() =>
              text(path, { query: { format: "markdown" } })
                .then((report) => copy(report, "Copied, with its sources."))
                .catch(tell)
            }
          >
            Copy
          </button>
          <a className="quiet" href={`${path}?format=markdown`} download="report.md">
            Export
          </a>
        </>
      )}
      <button type="button" className="quiet" onClick={() => void again()}>
        Run again
      </button>
    </>
  );
}

function Found({ run }: { run: Run }) {
  const notebook = run.notebook ?? [];
  const running = run.status === "running";
  if (!notebook.length) {
    return running ? (
      <Empty title="Nothing in the notebook yet.">
        <p>Findings appear here as they are made, each with the words that carry it.</p>
      </Empty>
    ) : (
      <Empty title="The run found nothing.">
        <p>Ask in other words, or add a source that covers this.</p>
      </Empty>
    );
  }
  const kept = notebook.filter((finding) => finding.verdict.kind === "supported").length;
  const title = `Notebook (${counted(notebook.length, "finding")})`;
  if (running) {
    return (
      <Part title={title}>
        <Notebook findings={notebook} />
      </Part>
    );
  }
  return (
    <details className="fold">
      <summary>
        {title}, {kept} {VERDICTS.supported.words.toLowerCase().replace(" by these words", "")}
      </summary>
      <Notebook findings={notebook} />
    </details>
  );
}

function Steps({ run, deeds }: { run: Run; deeds: Deed[] }) {
  const running = run.status === "running";
  const newest = deeds.at(-1);
  const began = new Date(run.created_at).getTime();
  const ahead = run.ahead ?? [];
  return (
    <details className="fold" open={running}>
      <summary>
        {running && <span className="spinner" aria-hidden="true" />}
        <span role="status">
          {running && newest
            ? `${DEEDS[newest.name] ?? newest.name}: ${calm(newest.text)}`
            : `What it did (${counted(deeds.length, "event")})`}
        </span>
      </summary>
      <ol className="steps">
        {deeds.map((deed) => (
          <li key={deed.n}>
            <span className="elapsed">
              {((new Date(deed.at).getTime() - began) / 1000).toFixed(1)} s
            </span>
            <span>
              <strong>{DEEDS[deed.name] ?? deed.name}</strong> <Words>{deed.text}</Words>
            </span>
          </li>
        ))}
      </ol>
      {ahead.length > 0 && (
        <>
          <h3>{running ? "Still ahead" : "Not looked into any more"}</h3>
          <ul className="ahead">
            {ahead.map((direction) => (
              <li key={direction}>
                <Words>{direction}</Words>
              </li>
            ))}
          </ul>
        </>
      )}
    </details>
  );
}
