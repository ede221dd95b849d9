// The card of a citation: the quoted words in their context, when, where, and how well they carry.
import { call } from "./api.js";
import { byId, el, outward, savedLink } from "./dom.js";
import { ago, timeOf } from "./times.js";

const CONTEXT = 140;
const LEAVE_MS = 180;
const WORDS = {
  supported: "Supported by these words",
  partly: "Partly supported",
  not_supported: "Not supported",
  contradicted: "Contradicted",
};
export const MARKS = { supported: "✓", partly: "~", not_supported: "✗", contradicted: "✗" };
const card = byId("card");
const texts = new Map();
let owner = null;
let pinned = false;
let timer = 0;
let pointer = null;
let moved = false;

// Browsers also tell of a resting pointer when something arrives under it; that opens no card.
document.addEventListener(
  "mousemove",
  (event) => {
    moved = pointer !== null && (pointer[0] !== event.clientX || pointer[1] !== event.clientY);
    pointer = [event.clientX, event.clientY];
  },
  { capture: true },
);

export const verdictWords = (kind) => WORDS[kind] ?? kind;

/** A pill that opens the card of `citation` on hover, focus or click. */
export function pill(citation, name, verdict) {
  const node = el(
    "button",
    {
      type: "button",
      className: "pill",
      "aria-haspopup": "dialog",
      "aria-expanded": "false",
      "aria-label": `Citation ${citation.number}: ${name}`,
      onmousemove: () => moved && show(node, citation, name, verdict),
      onmouseleave: leave,
      onfocus: () => show(node, citation, name, verdict),
      onblur: leave,
      onclick: () => {
        show(node, citation, name, verdict);
        pinned = true;
        card.focus();
      },
    },
    el("span", { className: "name" }, name),
    el("span", { className: "number" }, String(citation.number)),
  );
  return node;
}

function show(node, citation, name, verdict) {
  clearTimeout(timer);
  if (owner === node) return;
  hide();
  owner = node;
  node.setAttribute("aria-expanded", "true");
  const quote = el("blockquote", {}, el("mark", {}, citation.quote));
  card.replaceChildren(
    el("p", { className: "where" }, el("strong", {}, name), citation.author ? ` · ${citation.author}` : ""),
    citation.title ? el("p", { className: "title" }, citation.title) : "",
    quote,
    el(
      "p",
      { className: "facts" },
      "published ", timeOf(citation.published_at),
      " · seen ", timeOf(citation.observed_at),
      citation.published_at ? ` · ${ago(new Date(citation.published_at))}` : "",
    ),
    citation.copies > 1
      ? el(
          "p",
          { className: "facts", title: citation.copy_sources.join(", ") },
          `same copy ×${citation.copies}, counted as one origin`,
        )
      : "",
    verdict
      ? el(
          "p",
          { className: `verdict ${verdict.kind}` },
          `${MARKS[verdict.kind] ?? ""} ${verdictWords(verdict.kind)}`,
          verdict.reasons.length ? `: ${verdict.reasons.join("; ")}` : "",
        )
      : "",
    el(
      "p",
      { className: "links" },
      outward(citation.url, "Original") ?? "",
      savedLink(citation.saved_url, "Saved copy"),
    ),
  );
  card.hidden = false;
  place(node);
  widen(citation, quote, node);
}

/** Put the words around the quote, from the saved copy, as soon as they are there. */
async function widen(citation, quote, node) {
  const at = `${citation.key}\n${citation.version}`;
  if (!texts.has(at)) {
    const path = `/v1/documents/${encodeURIComponent(citation.key)}`;
    texts.set(at, call(path, { query: { version: citation.version } }).catch((error) => ({ error })));
  }
  const found = await texts.get(at);
  if (owner !== node) return;
  if (found.error) {
    quote.after(el("p", { className: "facts" }, found.error.message));
    if (found.error.status !== 410) texts.delete(at);
  } else if (found.document?.text !== undefined) {
    const points = Array.from(found.document.text);
    const start = Math.max(0, citation.start - CONTEXT);
    const end = Math.min(points.length, citation.end + CONTEXT);
    quote.replaceChildren(
      (start ? "…" : "") + points.slice(start, citation.start).join(""),
      el("mark", {}, points.slice(citation.start, citation.end).join("")),
      points.slice(citation.end, end).join("") + (end < points.length ? "…" : ""),
    );
  }
  place(node);
}

function place(node) {
  const pillBox = node.getBoundingClientRect();
  const margin = 10;
  const width = Math.min(420, document.documentElement.clientWidth - 2 * margin);
  card.style.width = `${width}px`;
  const left = Math.min(pillBox.left, document.documentElement.clientWidth - width - margin);
  card.style.left = `${Math.max(margin, left)}px`;
  const below = window.innerHeight - pillBox.bottom - margin - 6;
  const above = pillBox.top - margin - 6;
  const under = card.scrollHeight <= below || below >= above;
  card.style.maxHeight = `${Math.max(140, under ? below : above)}px`;
  const height = Math.min(card.offsetHeight, under ? below : above);
  card.style.top = `${under ? pillBox.bottom + 6 : pillBox.top - 6 - height}px`;
}

function leave() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!pinned && !card.matches(":hover") && !card.contains(document.activeElement)) hide();
  }, LEAVE_MS);
}

/** Close the card, if one is open. */
export function hide() {
  clearTimeout(timer);
  owner?.setAttribute("aria-expanded", "false");
  owner = null;
  pinned = false;
  card.hidden = true;
}

card.addEventListener("mouseleave", leave);
card.addEventListener("focusout", (event) => {
  if (!card.contains(event.relatedTarget) && event.relatedTarget !== owner) {
    pinned = false;
    leave();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || card.hidden) return;
  const back = owner;
  const inside = card.contains(document.activeElement);
  hide();
  if (inside) {
    back?.focus();
    hide();
  }
});
document.addEventListener("pointerdown", (event) => {
  if (!card.hidden && !card.contains(event.target) && !owner?.contains(event.target)) hide();
});
window.addEventListener("scroll", () => owner && place(owner), { passive: true });
window.addEventListener("resize", () => owner && place(owner));
