/** An answer as text for elsewhere. */
import type { Answer } from "../api/types";
import { calm, siteName } from "../ui/text";
import { isDay, utc } from "../ui/time";

/** Question, sentences with numbers, and what they quote, as Markdown. */
export function asMarkdown(answer: Answer): string {
  const marks = {
    supported: "",
    partly: " (partly supported)",
    not_supported: " (not supported)",
    contradicted: " (contradicted)",
  };
  const lines = answer.sentences.map(
    (sentence) =>
      `${inert(sentence.text)} ${sentence.citations.map((n) => `[${n}]`).join("")}${marks[sentence.verdict.kind]}`,
  );
  const sources = answer.citations.map((citation) => {
    const at = citation.published_at ?? citation.observed_at;
    const day = citation.published_at && isDay(citation.published_at);
    const when = at ? (day ? at.slice(0, 10) : utc(new Date(at))) : "undated";
    return `[${citation.number}] “${inert(citation.quote)}” ${inert(citation.title || siteName(citation))}, ${when}. ${citation.url || citation.saved_url}`.trimEnd();
  });
  const body = answer.abstained ? ["The evidence does not contain an answer."] : lines;
  const asOf = answer.as_of ? ` (as of ${utc(new Date(answer.as_of))})` : "";
  return [`**${inert(answer.question)}**${asOf}`, "", ...body, "", ...sources].join("\n").trimEnd();
}

const inert = (text: string): string =>
  calm(text)
    .replace(/[\r\n]+/g, " ")
    .replace(/([[\]<>`])/g, "\\$1");
