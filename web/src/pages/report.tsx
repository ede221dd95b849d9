/** A deep run's findings and its report, every sentence with its verdict and its words. */
import type { Citation, Finding, Report, Sentence } from "../api/types";
import { Evidence } from "../ask/evidence";
import { Pill } from "../ask/pill";
import { Line } from "../ask/turn";
import { Mark, VERDICTS } from "../ask/verdict";
import { calm, Words } from "../ui/text";
import { Time } from "../ui/time";
import { Part } from "./parts";

/** What is in the notebook, in the order of finding. */
export function Notebook({ findings }: { findings: readonly Finding[] }) {
  return (
    <ol className="sentences" aria-live="polite" aria-relevant="additions">
      {findings.map((finding, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: findings only arrive, at the end
        <li key={at} className={finding.verdict.kind}>
          <Mark verdict={finding.verdict} />
          <div>
            <p>
              <span className="words" dir="auto">
                {calm(finding.text)}
              </span>{" "}
              {finding.citations.map((citation) => (
                <Pill
                  key={`${citation.key} ${citation.number}`}
                  citation={citation}
                  verdict={finding.verdict}
                />
              ))}
            </p>
            {!!finding.verdict.reasons?.length && (
              <p className="reasons">
                {VERDICTS[finding.verdict.kind].words}:{" "}
                {finding.verdict.reasons.map(calm).join("; ")}
              </p>
            )}
            <p className="facts">
              {finding.why === "question" ? "Asked" : `Followed up (${finding.why})`}:{" "}
              <Words>{finding.direction}</Words>
            </p>
          </div>
        </li>
      ))}
    </ol>
  );
}

export function ReportView({ report }: { report: Report }) {
  const citations = Object.fromEntries(
    (report.citations ?? []).map((citation) => [citation.number, citation]),
  );
  const { summary = [], sections = [], timeline = [], figures = [] } = report;
  const { uncertain = [], notes = [] } = report;
  return (
    <article className="report" aria-label="Report">
      {summary.length > 0 && (
        <Part title="In short">
          <Sentences sentences={summary} citations={citations} />
        </Part>
      )}
      {sections.map((section) => (
        <Part key={section.heading} title={calm(section.heading)}>
          <Sentences sentences={section.sentences} citations={citations} />
        </Part>
      ))}
      {timeline.length > 0 && (
        <Part title="Timeline">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">What was reported</th>
              </tr>
            </thead>
            <tbody>
              {timeline.map((row) => (
                <tr key={`${row.at} ${row.citation}`}>
                  <td>
                    <Time at={row.at} />
                  </td>
                  <td>
                    <Words>{row.text}</Words> <Cited citation={citations[row.citation]} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Part>
      )}
      {figures.length > 0 && (
        <Part title="In figures">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Figure</th>
                <th scope="col">Reported</th>
                <th scope="col">What is said</th>
              </tr>
            </thead>
            <tbody>
              {figures.map((row) => (
                <tr key={`${row.figure} ${row.citation}`}>
                  <td>
                    <Words>{row.figure}</Words>
                  </td>
                  <td>{row.at ? <Time at={row.at} /> : "undated"}</td>
                  <td>
                    <Words>{row.text}</Words> <Cited citation={citations[row.citation]} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Part>
      )}
      {uncertain.length > 0 && (
        <Part title="What stayed uncertain">
          <ul className="dots">
            {uncertain.map((each) => (
              <li key={each}>
                <Words>{each}</Words>
              </li>
            ))}
          </ul>
        </Part>
      )}
      <ul className="notes facts">
        {notes.map((note) => (
          <li key={note}>
            <Words>{note}</Words>
          </li>
        ))}
        <li>
          {report.writer === "extractive"
            ? "Written in the sources' own words."
            : `Written by ${calm(report.writer ?? "")}.`}
        </li>
      </ul>
      <Evidence citations={report.citations ?? []} />
    </article>
  );
}

function Cited({ citation }: { citation: Citation | undefined }) {
  return citation ? <Pill citation={citation} verdict={null} /> : null;
}

function Sentences({
  sentences,
  citations,
}: {
  sentences: readonly Sentence[];
  citations: Record<number, Citation>;
}) {
  return (
    <ol className="sentences">
      {sentences.map((sentence, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a report does not change
        <Line key={at} sentence={sentence} citations={citations} />
      ))}
    </ol>
  );
}
