// Search without a model.
import { call } from "./api.js";
import { pastBand, trouble } from "./ask.js";
import { byId, el, marked, outward, savedLink, siteName } from "./dom.js";
import { ago, timeOf } from "./times.js";

const results = byId("results");
let newest = null;

/** Search, and list what was found. */
export async function find(text, asOf, again) {
  newest?.abort();
  const control = (newest = new AbortController());
  results.hidden = false;
  results.setAttribute("aria-busy", "true");
  try {
    const query = { q: text, limit: 20, as_of: asOf ? asOf.toISOString() : "" };
    const found = await call("/v1/search", { query, signal: control.signal });
    const n = found.hits.length;
    results.replaceChildren(
      pastBand(asOf) ?? "",
      el(
        "p",
        { className: "facts", role: "status" },
        n ? `${n === 20 ? "Best 20" : n} ${n === 1 ? "hit" : "hits"} in ${found.took_ms.toFixed(1)} ms` : "Nothing found. Try fewer or other words.",
      ),
      el("ol", { className: "hits" }, ...found.hits.map(hitItem)),
    );
  } catch (error) {
    if (error.name !== "AbortError") results.replaceChildren(trouble(error, again));
  } finally {
    results.removeAttribute("aria-busy");
  }
}

function hitItem(hit) {
  const title = marked(hit.title || hit.snippet.slice(0, 60) || hit.key, hit.title ? hit.title_highlights : []);
  return el(
    "li",
    {},
    el("p", { className: "title" }, outward(hit.url, ...title) ?? savedLink(hit.saved_url, ...title)),
    hit.withheld
      ? el("p", { className: "snippet" }, "Its source's terms do not allow showing the text.")
      : el("p", { className: "snippet" }, ...marked(hit.snippet, hit.highlights)),
    el(
      "p",
      { className: "facts" },
      `${siteName(hit)} · `,
      hit.author ? `${hit.author} · ` : "",
      timeOf(hit.published_at ?? hit.observed_at, (date) => ago(date)),
      hit.published_at ? "" : " (undated, when seen)",
      hit.copies > 1 ? ` · same copy ×${hit.copies}` : "",
      " · ",
      savedLink(hit.saved_url, "saved copy"),
    ),
  );
}

/** The newest things seen, for the first screen. */
export async function latest() {
  const list = byId("latest-list");
  const found = await call("/v1/search", { query: { newest: true, limit: 4 } });
  const rows = found.hits
    .filter((hit) => !hit.withheld && (hit.title || hit.snippet))
    .slice(0, 3)
    .map((hit) =>
      el(
        "li",
        {},
        timeOf(hit.published_at ?? hit.observed_at),
        savedLink(hit.saved_url, hit.title || hit.snippet.slice(0, 90)),
        el("span", { className: "from" }, siteName(hit), hit.copies > 1 ? `, ${hit.copies} copies` : ""),
      ),
    );
  list.replaceChildren(...rows);
  return rows.length;
}
