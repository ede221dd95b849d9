/** What a gate found: figures beside the thresholds that they have to reach. */
import { calm } from "../ui/text";

export interface Check {
  name: string;
  value: number | null;
  low?: number | null;
  high?: number | null;
  threshold: number | null;
  passed: boolean;
}

const FIGURES: Record<string, [words: string, side: string]> = {
  bits_per_byte: ["Bits per byte of unseen text", "at most"],
  cloze: ["Next words picked, %", "at least"],
  bits_per_byte_gained: ["Bits per byte above the serving model's", "at most"],
  cloze_gained: ["Next words picked beyond the serving model's, points", "at least"],
};

const digits = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });
const figure = (value: number | null | undefined): string =>
  value === null || value === undefined ? "no number" : digits.format(value);

export function Checks({ checks }: { checks: readonly Check[] }) {
  return (
    <div className="scroll">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Figure</th>
            <th scope="col" className="figure">
              Value
            </th>
            <th scope="col" className="figure">
              95 % interval
            </th>
            <th scope="col" className="figure">
              Wanted
            </th>
            <th scope="col">Outcome</th>
          </tr>
        </thead>
        <tbody>
          {checks.map((check) => {
            const [words, side] = FIGURES[check.name] ?? [calm(check.name), ""];
            return (
              <tr key={check.name}>
                <td>{words}</td>
                <td className="figure">{figure(check.value)}</td>
                <td className="figure">
                  {typeof check.low === "number" && typeof check.high === "number"
                    ? `${figure(check.low)} to ${figure(check.high)}`
                    : "–"}
                </td>
                <td className="figure">
                  {side} {figure(check.threshold)}
                </td>
                <td>
                  <span className={`tag ${check.passed ? "good" : "bad"}`}>
                    {check.passed ? "✓ passed" : "✗ missed"}
                  </span>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** A number of bytes in its largest unit. */
export function bytes(count: number): string {
  const power = count > 0 ? Math.min(Math.floor(Math.log10(count) / 3), UNITS.length - 1) : 0;
  const value = count / 1000 ** power;
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 })} ${UNITS[power]}`;
}
