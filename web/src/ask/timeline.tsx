/** When the evidence came, by kind; moving along it asks again as of then. */
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { call } from "../api/client";
import type { Answer } from "../api/types";
import { Chart } from "../ui/chart";
import { said, Time } from "../ui/time";

interface Counts {
  since: string;
  until: string;
  bucket_s: number;
  buckets: { at: string; articles: number; posts: number }[];
}

export function Timeline({
  answer,
  onMove,
}: {
  answer: Answer;
  onMove: (at: string | null) => void;
}) {
  const [open, setOpen] = useState(false);
  return (
    <details className="timeline" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Timeline</summary>
      {open && <Span answer={answer} onMove={onMove} />}
    </details>
  );
}

function Span({ answer, onMove }: { answer: Answer; onMove: (at: string | null) => void }) {
  const until = answer.as_of ?? answer.created_at;
  const found = useQuery({
    queryKey: ["timeline", answer.question, until],
    queryFn: ({ signal }) =>
      call<Counts>("/v1/timeline", {
        query: { question: answer.question, until, buckets: 60 },
        signal,
      }),
    retry: false,
  });
  const buckets = found.data?.buckets;
  const data = useMemo(
    () => ({
      x: (buckets ?? []).map((bucket) => new Date(bucket.at).getTime() / 1000),
      series: [
        { label: "Articles", values: (buckets ?? []).map((bucket) => bucket.articles) },
        { label: "Posts", values: (buckets ?? []).map((bucket) => bucket.posts), color: "--past" },
      ],
    }),
    [buckets],
  );
  const [at, setAt] = useState(100);
  if (!buckets?.length)
    return <p className="facts">{found.isPending ? "Counting…" : "Nothing dated was found."}</p>;
  const start = new Date(found.data?.since ?? until).getTime();
  const end = Date.now();
  const moment = new Date(start + ((end - start) * at) / 100);
  const ask = () => onMove(at >= 100 ? null : moment.toISOString());
  return (
    <>
      <Chart title="What was published about this" {...data} height={110} bars times />
      <label className="moment">
        <span className="sr">Moment to ask about</span>
        <input
          type="range"
          min={0}
          max={100}
          step={0.5}
          value={at}
          aria-valuetext={at >= 100 ? "now" : said(moment)}
          onChange={(event) => setAt(event.target.valueAsNumber)}
          onPointerUp={ask}
          onKeyUp={(event) => event.key === "Enter" && ask()}
        />
        <output>{at >= 100 ? "now" : <Time at={moment.toISOString()} />}</output>
        <button type="button" className="quiet" onClick={ask}>
          Ask as of then
        </button>
      </label>
    </>
  );
}
