// An answer as it is written: checked sentences, their evidence, and what was missing.
import { events, Problem } from "./api.js";
import { MARKS, pill, verdictWords } from "./card.js";
import { byId, el, outward, savedLink, siteName } from "./dom.js";
import { ago, span, timeOf } from "./times.js";

const answer = byId("answer");
const progress = byId("progress");
let running = null;

/** Ask, and show the answer sentence by sentence. `asOf` is a Date, or null for now. */
export async function ask(question, asOf, again) {
  stop();
  const control = (running = new AbortController());
  const list = el("ol", { className: "sentences", "aria-live": "polite" });
  const stopper = el("button", { type: "button", className: "quiet", onclick: stop }, "Stop");
  const began = performance.now();
  const step = el("span", {}, "Understanding the question");
  const elapsed = el("span", { className: "elapsed", "aria-hidden": "true" });
  const ticking = setInterval(() => {
    elapsed.textContent = ` ${((performance.now() - began) / 1000).toFixed(0)} s`;
  }, 1000);
  progress.replaceChildren(el("span", { className: "spinner", "aria-hidden": "true" }), step, elapsed, stopper);
  progress.hidden = false;
  answer.replaceChildren(el("h2", { className: "asked" }, question), pastBand(asOf) ?? "", list);
  answer.hidden = false;
  const citations = new Map();
  try {
    const body = { question, as_of: asOf ? asOf.toISOString() : null };
    for await (const [name, data] of events("/v1/ask", body, control.signal)) {
      if (name === "planned") {
        step.textContent = "Searching";
        // The question itself may name a moment.
        if (data.plan.as_of && !asOf) list.before(pastBand(new Date(data.plan.as_of)));
      }
      if (name === "retrieved") step.textContent = `Reading ${counted(data.citations.length, "passage")}`;
      if (name === "sentence") {
        step.textContent = "Checking each sentence";
        data.citations.forEach((citation) => citations.set(citation.number, citation));
        list.append(sentenceItem(data.sentence, citations));
      }
      if (name === "error") throw new Problem(data.message, data.hint);
      if (name === "finished") finish(list, data.answer);
    }
  } catch (error) {
    if (error.name === "AbortError") {
      answer.append(el("p", { className: "banner" }, "Stopped. What stands above was checked."));
    } else {
      answer.append(trouble(error, again));
    }
  } finally {
    clearInterval(ticking);
    if (running === control) {
      running = null;
      progress.hidden = true;
    }
  }
}

/** Stop the answer that is being written; what is there stays. */
export function stop() {
  running?.abort();
  running = null;
  progress.hidden = true;
}

/** A box that names the cause and the next step. */
export function trouble(error, again) {
  return el(
    "div",
    { className: "banner trouble", role: "alert" },
    el("p", {}, error.message),
    error.hint ? el("p", { className: "hint" }, error.hint) : "",
    again ? el("button", { type: "button", className: "quiet", onclick: again }, "Try again") : "",
  );
}

/** The mark of a view that is not now; null for now. */
export function pastBand(asOf) {
  if (!asOf) return null;
  return el(
    "p",
    { className: "past-band" },
    "As of ", timeOf(asOf.toISOString()), `, ${ago(asOf)}: nothing seen later is used.`,
  );
}

const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

function sentenceItem(sentence, citations) {
  const { verdict } = sentence;
  const words = verdictWords(verdict.kind);
  const pills = sentence.citations
    .map((number) => citations.get(number))
    .filter(Boolean)
    .map((citation) => pill(citation, siteName(citation), verdict));
  return el(
    "li",
    { className: verdict.kind },
    el("span", { className: "mark", role: "img", "aria-label": words, title: words }, MARKS[verdict.kind] ?? "?"),
    el(
      "div",
      {},
      el("p", {}, el("span", { className: "words" }, sentence.text), " ", ...pills),
      verdict.reasons.length
        ? el("p", { className: "reasons" }, `${words}: ${verdict.reasons.join("; ")}`)
        : "",
    ),
  );
}

function finish(list, whole) {
  if (whole.abstained) list.replaceWith(abstention(whole));
  if (whole.citations.length) answer.append(evidence(whole.citations));
  answer.append(footing(whole));
}

function abstention(whole) {
  const { closest } = whole;
  return el(
    "div",
    { className: "abstained" },
    el("p", { className: "headline" }, "The evidence does not contain an answer."),
    closest
      ? el("p", {}, "Closest passage: ", el("q", {}, closest.quote), " ", pill(closest, siteName(closest), null))
      : el("p", {}, "No passage came close. Try other words, or add a source that covers this."),
  );
}

const headline = (citation) => citation.title || citation.author || siteName(citation);

function evidence(citations) {
  const rows = citations.map((citation) =>
    el(
      "li",
      { value: citation.number },
      el(
        "p",
        { className: "title" },
        outward(citation.url, headline(citation)) ?? savedLink(citation.saved_url, headline(citation)),
      ),
      el("blockquote", {}, citation.quote),
      el(
        "p",
        { className: "facts" },
        `${siteName(citation)} · `,
        timeOf(citation.published_at ?? citation.observed_at),
        citation.copies > 1 ? ` · same copy ×${citation.copies}` : "",
        " · ",
        savedLink(citation.saved_url, "saved copy"),
      ),
    ),
  );
  return el(
    "details",
    { className: "evidence" },
    el("summary", {}, `Evidence (${citations.length})`),
    el("ol", {}, ...rows),
  );
}

function footing(whole) {
  const { freshness } = whole;
  const moment = whole.as_of ? "before that moment" : "old";
  const facts = [
    freshness.newest_at
      ? el("li", {}, `Newest evidence ${span(freshness.newest_age_s ?? 0)} ${moment} (`, timeOf(freshness.newest_at), ")")
      : el("li", {}, "No evidence was used"),
    el("li", {}, `${counted(freshness.searched, "document").replace(/^\d+/, (n) => Number(n).toLocaleString())} searched`),
  ];
  const total = whole.timings_ms.whole;
  if (total !== undefined) facts.push(el("li", {}, `${(total / 1000).toFixed(total < 1000 ? 2 : 1)} s`));
  facts.push(el("li", {}, whole.writer === "extractive" ? "written in the sources' own words" : `written by ${whole.writer}`));
  return el(
    "footer",
    {},
    el("ul", { className: "facts row" }, ...facts),
    freshness.silent.length
      ? el(
          "div",
          { className: "silent" },
          el("p", {}, whole.as_of ? "Silent at that moment:" : "Silent now:"),
          el("ul", {}, ...freshness.silent.map((s) => el("li", {}, el("strong", {}, s.title || s.name), ` ${s.text || s.state}`))),
        )
      : "",
    whole.notes.length ? el("ul", { className: "notes" }, ...whole.notes.map((note) => el("li", {}, note))) : "",
  );
}

