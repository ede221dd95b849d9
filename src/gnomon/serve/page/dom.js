// Building the page. Third-party text enters only as text nodes; links only if http(s).

/** An element with properties, attributes (`data-`, `aria-`, role) and children. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** The address if a browser may be sent there, else null. */
export function webAddress(url) {
  try {
    const parsed = new URL(url);
    return parsed.protocol === "http:" || parsed.protocol === "https:" ? parsed.href : null;
  } catch {
    return null;
  }
}

// Names that RFC 2606 reserves, such as those of the demo world, lead nowhere.
const NOWHERE = /\.(example|test|invalid|localhost)$/;

/** A link to a site that we do not know; null where there is none to go to. */
export function outward(url, ...children) {
  const href = webAddress(url);
  if (!href || NOWHERE.test(new URL(href).hostname)) return null;
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

/** A link to one of our own saved copies, whatever host the answer was made for. */
export function savedLink(url, ...children) {
  const parsed = new URL(url, location.origin);
  return el("a", { href: parsed.pathname + parsed.search + "#quote", target: "_blank" }, ...children);
}

/** Text with the given spans of code points in `<mark>`. */
export function marked(text, spans) {
  const points = Array.from(text);
  const nodes = [];
  let done = 0;
  for (const [start, end] of spans ?? []) {
    if (start < done) continue;
    nodes.push(points.slice(done, start).join(""), el("mark", {}, points.slice(start, end).join("")));
    done = end;
  }
  nodes.push(points.slice(done).join(""));
  return nodes;
}

/** A host's name as people say it, else the source's own name. */
export function siteName(citation) {
  const href = webAddress(citation.url);
  if (href) return new URL(href).hostname.replace(/^www\./, "");
  return citation.source.replace(/^[a-z]+:/, "") || citation.key;
}

export const byId = (id) => document.getElementById(id);
