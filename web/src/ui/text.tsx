/** The one place where text of others enters the page. It enters as text, never as markup. */
import { Fragment, type ReactNode } from "react";
import Markdown, { type Components } from "react-markdown";
import gfm from "remark-gfm";

// Control and format characters (Unicode's Cc and Cf) can turn or hide the text around them; the
// two joiners are letters' business in Persian, Hindi and among emoji.
const TRICKS = /(?![\t\n\r\u200c\u200d])[\p{Cc}\p{Cf}]/gu;

/** The same words without characters that turn or hide what stands beside them. */
export const calm = (text: string): string => text.replace(TRICKS, "");

/** Third-party words on their own, so that their direction changes nothing around them. */
export function Words({ children }: { children: string }) {
  return <bdi>{calm(children)}</bdi>;
}

const SAFE = new Set(["http:", "https:", "mailto:"]);
// Names that RFC 2606 reserves, such as those of the demo world, lead nowhere.
const NOWHERE = /\.(example|test|invalid|localhost)$/;

/** The address if a browser may be sent there, else null. */
export function safeHref(url: string | null | undefined): string | null {
  if (!url) return null;
  try {
    const parsed = new URL(url);
    if (!SAFE.has(parsed.protocol) || parsed.username || parsed.password) return null;
    return parsed.href;
  } catch {
    return null;
  }
}

/** A link to a site that we do not know; only its words where there is nowhere to go. */
export function Outward({ url, children }: { url: string; children: ReactNode }) {
  const href = safeHref(url);
  if (!href || NOWHERE.test(new URL(href).hostname)) return <>{children}</>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow" title={href}>
      {children}
    </a>
  );
}

/** Whether `Outward` would make a link of it. */
export const leadsOut = (url: string): boolean => {
  const href = safeHref(url);
  return href !== null && !NOWHERE.test(new URL(href).hostname);
};

/** The path of one of our own saved copies, whatever host the answer was made for. */
export function savedPath(url: string): string {
  const parsed = new URL(url, location.origin);
  return parsed.pathname.startsWith("/saved/") ? `${parsed.pathname}${parsed.search}#quote` : "/";
}

/** Code points, as the API counts. */
export const points = (text: string): string[] => Array.from(text);

/** Text with the given spans of code points marked. */
export function Marked({ text, spans }: { text: string; spans: readonly (readonly number[])[] }) {
  const all = points(text);
  const parts: ReactNode[] = [];
  let done = 0;
  for (const [start = 0, end = 0] of spans) {
    if (start < done || end <= start) continue;
    parts.push(
      <Fragment key={start}>
        {calm(all.slice(done, start).join(""))}
        <mark>{calm(all.slice(start, end).join(""))}</mark>
      </Fragment>,
    );
    done = end;
  }
  return (
    <bdi>
      {parts}
      {calm(all.slice(done).join(""))}
    </bdi>
  );
}

const PLAIN: Components = {
  a: ({ href, children }) => <Outward url={href ?? ""}>{children}</Outward>,
  // Nothing is loaded from elsewhere: a picture is its description.
  img: ({ alt }) => <span className="picture">[picture: {alt || "without description"}]</span>,
  input: ({ checked }) => <span>{checked ? "☑" : "☐"} </span>,
};

/** Markdown from a model or a report, whole or as far as it has come. Raw HTML is shown as text. */
export function Prose({ text }: { text: string }) {
  return (
    <div className="prose">
      <Markdown
        remarkPlugins={[gfm]}
        components={PLAIN}
        urlTransform={(url) => safeHref(url) ?? ""}
      >
        {calm(text)}
      </Markdown>
    </div>
  );
}

/** A host's name as people say it, else the source's own name. Punycode stays as it is. */
export function siteName(from: {
  url: string;
  source: string;
  key?: string;
  author?: string;
}): string {
  const href = safeHref(from.url);
  if (href?.startsWith("http")) return new URL(href).hostname.replace(/^www\./, "");
  return calm(from.source.replace(/^[a-z]+:/, "") || from.key || "");
}
