// The sources: how each stands in a sentence, and following new ones.
import { call } from "./api.js";
import { trouble } from "./ask.js";
import { byId, el } from "./dom.js";
import { ago, span, timeOf } from "./times.js";

const panel = byId("following");
const WELL = new Set(["live", "polling", "done"]);
const message = el("div", { "aria-live": "polite" });
const list = el("ul", { className: "sources" });
const address = el("input", {
  type: "text",
  id: "source-address",
  inputMode: "url",
  placeholder: "https://www.example.org/news.xml",
  required: true,
  maxLength: 2000,
  spellcheck: false,
});
const add = el("button", { type: "submit" }, "Follow");
let reload = async () => {};

panel.append(
  el(
    "form",
    { className: "add", onsubmit: follow },
    el("label", { for: "source-address" }, "Follow a feed or a page"),
    el("div", { className: "field" }, address, add),
  ),
  message,
  list,
);

/** Call `refresh` whenever a source was added or changed from here. */
export function onChange(refresh) {
  reload = refresh;
}

/** Show how the sources stand. */
export function show(status) {
  if (list.contains(document.activeElement)) {
    const held = document.activeElement.dataset.held;
    queueMicrotask(() => list.querySelector(`[data-held="${CSS.escape(held ?? "")}"]`)?.focus());
  }
  list.replaceChildren(...status.sources.map(row));
  if (!status.sources.length) {
    list.append(el("li", { className: "none" }, "No source yet. Paste the address of a feed or a page above."));
  }
}

async function follow(event) {
  event.preventDefault();
  add.disabled = true;
  message.replaceChildren(el("p", { className: "facts" }, "Looking at that address…"));
  try {
    const added = await call("/v1/sources", { body: { url: address.value.trim() } });
    message.replaceChildren(el("p", { className: "facts" }, `Following ${added.title || added.name}.`));
    address.value = "";
    await reload();
  } catch (error) {
    message.replaceChildren(trouble(error));
  } finally {
    add.disabled = false;
  }
}

async function act(source, action) {
  try {
    await call(`/v1/sources/${encodeURIComponent(source.name)}/${action}`, { method: "POST" });
    await reload();
  } catch (error) {
    message.replaceChildren(trouble(error));
  }
}

function row(source) {
  const paused = source.state === "paused";
  const tone = WELL.has(source.state) ? "well" : paused || source.state === "starting" ? "resting" : "ill";
  const facts = [`${source.documents.toLocaleString()} ${source.documents === 1 ? "document" : "documents"}`];
  if (source.lag_s !== null) facts.push(`lag ${span(source.lag_s)}`);
  if (source.errors) facts.push(`${source.errors} ${source.errors === 1 ? "error" : "errors"}`);
  return el(
    "li",
    { className: tone },
    el("span", { className: "dot", role: "img", "aria-label": source.state, title: source.state }),
    el(
      "div",
      {},
      el("p", { className: "title" }, source.title || source.name),
      el("p", {}, source.text || source.state),
      el(
        "p",
        { className: "facts" },
        facts.join(" · "),
        source.last_document_at ? " · newest " : "",
        source.last_document_at ? timeOf(source.last_document_at, (date) => ago(date)) : "",
        source.title && source.title !== source.name ? ` · ${source.name}` : "",
      ),
    ),
    el(
      "button",
      {
        type: "button",
        className: "quiet",
        "data-held": source.name,
        "aria-label": `${paused ? "Resume" : "Pause"} ${source.title || source.name}`,
        onclick: () => act(source, paused ? "resume" : "pause"),
      },
      paused ? "Resume" : "Pause",
    ),
  );
}
