/** Training runs, with their curves while they learn. */
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { call } from "../api/client";
import { Chart } from "../ui/chart";
import { calm, Words } from "../ui/text";
import { span, Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { type Check, Checks } from "./gate";
import { Part } from "./parts";

interface Progress {
  name: string;
  state: "running" | "stopped" | "finished" | "unreadable";
  text: string;
  model: string;
  step: number;
  steps: number;
  loss: number | null;
  tokens: number;
  tokens_wanted: number;
  tokens_per_s: number;
  mfu: number;
  eta_s: number | null;
  updated_at: string | null;
  starts: number;
  bad: number;
  goodput: number;
  passed: boolean | null;
  checks: Check[];
  curves: Record<string, [step: number, value: number][]>;
}

const TONES: Record<Progress["state"], string> = {
  running: "some",
  stopped: "",
  finished: "good",
  unreadable: "bad",
};
const CHARTS: { title: string; curves: [name: string, label: string, color: string][] }[] = [
  {
    title: "Loss by step",
    curves: [
      ["loss", "Loss", "--soft"],
      ["loss_smoothed", "Smoothed", "--accent"],
    ],
  },
  { title: "Learning rate by step", curves: [["rate", "Learning rate", "--past"]] },
  { title: "Tokens a second, by step", curves: [["tokens_per_s", "Tokens/s", "--good"]] },
  { title: "Size of the gradient, by step", curves: [["gradient_norm", "Gradient", "--some"]] },
];

const count = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });

export function Training() {
  const found = useQuery({
    queryKey: ["training"],
    queryFn: () => call<{ runs: Progress[] }>("/v1/training"),
    refetchInterval: (query) =>
      query.state.data?.runs.some((run) => run.state === "running") ? 3_000 : 15_000,
    retry: false,
  });
  const runs = found.data?.runs;
  return (
    <Part title="Training runs">
      {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
      {found.isPending && <Waiting rows={2} label="Looking for runs" />}
      {runs && !runs.length && (
        <Empty title="Nothing was trained in this home yet.">
          <p>
            <code>gnomon forge demo</code> trains a small model in minutes; its curves appear here
            as it learns.
          </p>
        </Empty>
      )}
      <ul className="rows plain">
        {runs?.map((run) => (
          <Run key={run.name} run={run} only={runs.length === 1} />
        ))}
      </ul>
    </Part>
  );
}

function Run({ run, only }: { run: Progress; only: boolean }) {
  const [open, setOpen] = useState(only && run.state !== "unreadable");
  return (
    <li className="item">
      <div>
        <p className="title">
          <Words>{run.name}</Words>
          <span className={`tag ${TONES[run.state]}`}>{run.state}</span>
          {run.passed !== null && (
            <span className={`tag ${run.passed ? "good" : "bad"}`}>
              {run.passed ? "passed its gate" : "refused by its gate"}
            </span>
          )}
        </p>
        {run.text ? (
          <p className="ill-words">
            <Words>{run.text}</Words>
          </p>
        ) : (
          <>
            <ul className="facts row-facts">
              <li>{calm(run.model)}</li>
              <li>
                step {run.step.toLocaleString()} of {run.steps.toLocaleString()}
              </li>
              {run.loss !== null && <li>loss {run.loss.toFixed(3)}</li>}
              <li>
                {count.format(run.tokens)} of {count.format(run.tokens_wanted)} tokens
              </li>
              {run.tokens_per_s > 0 && <li>{count.format(run.tokens_per_s)} tokens/s</li>}
              {run.mfu > 0 && (
                <li title="Share of the machine's arithmetic that the model used">
                  {percent.format(run.mfu)} of the peak
                </li>
              )}
              {run.eta_s !== null && <li>{span(run.eta_s)} left</li>}
              {run.starts > 1 && <li>{run.starts} starts</li>}
              {run.bad > 0 && (
                <li title="Steps that were skipped or rolled back">{run.bad} bad steps</li>
              )}
              {run.updated_at && (
                <li>
                  last step <Time at={run.updated_at} form="ago" />
                </li>
              )}
            </ul>
            <progress
              aria-label={`Steps of ${calm(run.name)}`}
              value={run.step}
              max={Math.max(1, run.steps)}
            />
            <details
              className="more-of"
              open={open}
              onToggle={(event) => setOpen(event.currentTarget.open)}
            >
              <summary>Curves and gate</summary>
              {open && <Curves name={run.name} live={run.state === "running"} />}
            </details>
          </>
        )}
      </div>
    </li>
  );
}

function Curves({ name, live }: { name: string; live: boolean }) {
  const found = useQuery({
    queryKey: ["training", name],
    queryFn: () => call<Progress>(`/v1/training/${encodeURIComponent(name)}`),
    refetchInterval: live ? 3_000 : false,
    retry: false,
  });
  if (found.error) return <Trouble error={found.error} again={() => void found.refetch()} />;
  if (!found.data) return <Waiting rows={3} label="Reading the curves" />;
  const { curves, checks } = found.data;
  const experts = Object.keys(curves).filter((curve) => curve.startsWith("expert_"));
  const charts = experts.length
    ? [
        ...CHARTS,
        {
          title: "Share of each expert, by step",
          curves: experts.map((curve, at): [string, string, string] => [
            curve,
            `Expert ${at + 1}`,
            COLOURS[at % COLOURS.length] ?? "--accent",
          ]),
        },
      ]
    : CHARTS;
  return (
    <>
      {checks.length > 0 && <Checks checks={checks} />}
      {!curves.loss?.length && <p className="facts">No step was measured yet.</p>}
      <div className="curves">
        {charts.map((chart) => (
          <Curve key={chart.title} {...chart} all={curves} />
        ))}
      </div>
    </>
  );
}

const COLOURS = ["--accent", "--past", "--good", "--bad", "--some", "--soft"];

function Curve({ title, curves, all }: (typeof CHARTS)[number] & { all: Progress["curves"] }) {
  const data = useMemo(() => {
    const present = curves.filter(([name]) => all[name]?.length);
    const x = [
      ...new Set(present.flatMap(([name]) => (all[name] ?? []).map(([step]) => step))),
    ].sort((one, other) => one - other);
    return {
      x,
      series: present.map(([name, label, color]) => {
        const known = new Map(all[name]);
        return { label, color, values: x.map((step) => known.get(step) ?? null) };
      }),
    };
  }, [curves, all]);
  return data.x.length ? <Chart title={title} {...data} height={150} /> : null;
}
