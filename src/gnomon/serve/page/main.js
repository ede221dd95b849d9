// The page: which view, which moment, and the strip that tells how fresh everything is.
import { call } from "./api.js";
import { ask, stop } from "./ask.js";
import { hide } from "./card.js";
import { byId, el } from "./dom.js";
import { find, latest } from "./find.js";
import { onChange, show } from "./follow.js";
import { ago, localValue, timeOf } from "./times.js";

const VIEWS = ["ask", "search", "sources"];
const STATUS_EVERY_MS = 10_000;
const form = byId("form");
const question = byId("question");
const at = byId("at");
const answer = byId("answer");
const results = byId("results");
let view = "ask";
let newestAt = null;
let counts = { fresh: 0, sources: 0 };
let offline = false;
let seen = "";

// -- which moment -----------------------------------------------------------
function asOf() {
  const chosen = form.elements.when.value;
  if (chosen === "now") return null;
  if (chosen === "at") return at.value ? new Date(at.value) : null;
  return new Date(Date.now() - Number(chosen) * 1000);
}

function showMoment() {
  const picking = form.elements.when.value === "at";
  at.hidden = !picking;
  at.max = localValue(new Date());
  if (picking && !at.value) at.value = localValue(new Date(Date.now() - 3_600_000));
  const moment = asOf();
  document.body.classList.toggle("past", moment !== null);
  const note = byId("past-note");
  note.hidden = moment === null;
  if (moment) note.replaceChildren("You look at ", timeOf(moment.toISOString()), ", as it was known then.");
}

function setMoment(iso) {
  const date = iso ? new Date(iso) : null;
  const valid = date !== null && !Number.isNaN(date.getTime());
  form.elements.when.value = valid ? "at" : "now";
  if (valid) at.value = localValue(date);
  showMoment();
}

// -- which view -------------------------------------------------------------
function go(event) {
  event?.preventDefault();
  const text = question.value.trim();
  if (view === "sources") view = "ask";
  if (!text && view === "ask") {
    question.focus();
    return;
  }
  const parameters = new URLSearchParams({ q: text });
  const moment = asOf();
  if (moment) parameters.set("as_of", moment.toISOString());
  const hash = `#${view}?${parameters}`;
  if (location.hash === hash) run();
  else location.hash = hash;
}

function run() {
  const [name, rest = ""] = location.hash.slice(1).split(/\?(.*)/s);
  if (name && !VIEWS.includes(name)) return; // A place within the page, such as the question.
  view = name || "ask";
  const parameters = new URLSearchParams(rest);
  const text = parameters.get("q");
  const asked = text !== null && (text !== "" || view === "search");
  document.body.dataset.view = view;
  document.body.classList.toggle("asked", asked || view === "sources");
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  const searching = view === "search";
  byId("go").textContent = searching ? "Search" : "Ask";
  byId("question-label").textContent = searching ? "Search words" : "Question";
  byId("headline").textContent = searching ? "What was seen?" : "What do you want to know?";
  question.placeholder = searching ? 'Words, "phrases", +must, -not' : "Ask your sources";
  byId("box").hidden = view === "sources";
  byId("following").hidden = view !== "sources";
  byId("latest").hidden = asked || view === "sources" || !byId("latest-list").childElementCount;
  stop();
  hide();
  window.scrollTo(0, 0);
  answer.hidden = true;
  results.hidden = true;
  document.title = asked && text ? `${text.slice(0, 60)} · Gnomon` : "Gnomon";
  if (!asked) return;
  question.value = text;
  grow();
  setMoment(parameters.get("as_of"));
  const exact = parameters.get("as_of") ? new Date(parameters.get("as_of")) : null;
  const moment = exact && !Number.isNaN(exact.getTime()) ? exact : null;
  if (searching) find(text, moment, run);
  else ask(text, moment, run);
}

function grow() {
  question.style.height = "auto";
  question.style.height = `${Math.min(question.scrollHeight, 220)}px`;
}

// -- how fresh --------------------------------------------------------------
function strip() {
  const line = byId("strip");
  const text = byId("strip-text");
  line.classList.toggle("ill", offline || counts.fresh < counts.sources);
  if (offline) text.textContent = "Gnomon does not answer. Is it still running?";
  else if (!counts.sources) text.textContent = "No source yet: add one";
  else {
    const noun = counts.sources === 1 ? "source" : "sources";
    const newest = newestAt ? `, newest ${ago(newestAt)}` : "";
    text.textContent = `${counts.fresh} of ${counts.sources} ${noun} fresh${newest}`;
  }
}

async function refresh() {
  let status;
  try {
    status = await call("/v1/status");
  } catch {
    offline = true;
    strip();
    return;
  }
  offline = false;
  counts = status.summary;
  newestAt = counts.newest_at ? new Date(counts.newest_at) : null;
  strip();
  show(status);
  const demo = byId("demo");
  demo.hidden = !status.demo;
  demo.textContent = status.demo?.banner ?? "";
  const examples = byId("examples");
  if (examples.childElementCount !== Math.min(status.examples.length, 4)) {
    examples.replaceChildren(...status.examples.slice(0, 4).map(example));
  }
  const stamp = `${status.record.last_seq}`;
  if (stamp !== seen) {
    seen = stamp;
    const any = await latest().catch(() => 0);
    if (!document.body.classList.contains("asked")) byId("latest").hidden = !any;
  }
}

function example(text) {
  const pick = () => {
    question.value = text;
    go();
  };
  return el("li", {}, el("button", { type: "button", onclick: pick }, text));
}

form.addEventListener("submit", go);
form.addEventListener("change", showMoment);
question.addEventListener("input", grow);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) go(event);
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !byId("box").hidden) {
    event.preventDefault();
    question.focus();
    question.select();
  }
});
window.addEventListener("hashchange", run);
onChange(refresh);
run();
refresh();
setInterval(strip, 1000);
setInterval(() => document.hidden || refresh(), STATUS_EVERY_MS);
if (!location.hash && matchMedia("(hover: hover)").matches) question.focus();
