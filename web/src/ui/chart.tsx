/** Curves and bars (uPlot), drawn in the page's own colours, with the figures as a table for those who cannot see them. */
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Series {
  label: string;
  values: (number | null)[];
  /** A CSS variable of the page: `--accent`. */
  color?: string;
}

interface ChartProps {
  title: string;
  /** Seconds since the epoch, or any rising number. */
  x: number[];
  series: Series[];
  height?: number;
  bars?: boolean;
  times?: boolean;
  log?: boolean;
}

/** A chart as wide as its place. */
export function Chart({ title, x, series, height = 160, bars, times, log }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = place.current;
    if (!box || !x.length) return;
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--soft");
    const axis = {
      stroke: ink,
      grid: { stroke: style.getPropertyValue("--line"), width: 1 },
      ticks: { show: false },
    };
    const plot = new uPlot(
      {
        width: box.clientWidth,
        height,
        cursor: { y: false },
        legend: { show: series.length > 1 },
        scales: { x: { time: times ?? false }, y: { distr: log ? 3 : 1 } },
        axes: [axis, { ...axis, size: 52, values: (_, ticks) => ticks.map(tick) }],
        series: [
          {},
          ...series.map((one) => ({
            label: one.label,
            stroke: colour(one.color),
            width: 1.5,
            points: { show: false },
            ...(bars
              ? { fill: colour(one.color), paths: uPlot.paths.bars?.({ size: [0.8, 40] }) ?? null }
              : {}),
          })),
        ] as uPlot.Series[],
      },
      [x, ...series.map((one) => one.values)] as uPlot.AlignedData,
      box,
    );
    const resized = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height }));
    resized.observe(box);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [x, series, height, bars, times, log]);
  return (
    <figure className="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} role="img" aria-label={`${title}: ${spoken(series)}`} />
    </figure>
  );
}

// Learning rates and token counts on the same 52 pixels.
function tick(value: number | null): string {
  if (value === null) return "";
  const size = Math.abs(value);
  if (size >= 10_000) return compact.format(value);
  return size > 0 && size < 0.01 ? value.toExponential(0) : value.toLocaleString();
}

const compact = new Intl.NumberFormat(undefined, { notation: "compact" });

function spoken(series: Series[]): string {
  return series
    .map((one) => {
      const known = one.values.filter((value): value is number => value !== null);
      if (!known.length) return `${one.label}: no values`;
      const at = (value: number) => Number(value.toPrecision(4)).toLocaleString();
      return `${one.label} from ${at(known[0] ?? 0)} to ${at(known.at(-1) ?? 0)}`;
    })
    .join("; ");
}

const colour =
  (name = "--accent") =>
  () =>
    getComputedStyle(document.documentElement).getPropertyValue(name);

/** A word-sized picture of how much came in when. */
export function Sparkline({ counts, label }: { counts: number[]; label: string }) {
  const top = Math.max(1, ...counts);
  const width = counts.length * 4;
  return (
    <svg
      className="spark"
      viewBox={`0 0 ${width} 16`}
      width={width}
      height={16}
      role="img"
      aria-label={label}
    >
      <title>{label}</title>
      {counts.map((count, at) => {
        const tall = count ? Math.max(2, (count / top) * 16) : 1;
        return (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: a bucket is its place
            key={at}
            x={at * 4}
            y={16 - tall}
            width={3}
            height={tall}
            className={count ? "" : "none"}
          />
        );
      })}
    </svg>
  );
}
