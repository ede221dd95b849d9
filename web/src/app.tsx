/** The frame: navigation beside, the view that the address names, notices and shortcuts over it. */
import { useQueryClient } from "@tanstack/react-query";
import { type ComponentType, lazy, Suspense, useEffect, useRef } from "react";
import { Link, Redirect, Route, Switch, useLocation, useRoute } from "wouter";
import { setCsrf, whenSignedOut } from "./api/client";
import { useSession, useStatus, useThreads, useWatches } from "./api/queries";
import { newTalk } from "./ask/thread";
import { NowPage } from "./pages/now";
import { TalkPage } from "./pages/talk";
import { Keys } from "./ui/keys";
import { Notices } from "./ui/notices";
import { calm } from "./ui/text";
import { Waiting } from "./ui/trouble";

const page = <K extends string>(load: () => Promise<Record<K, ComponentType>>, name: K) =>
  lazy(async () => ({ default: (await load())[name] }));

const SearchPage = page(() => import("./pages/search"), "SearchPage");
const ThreadsPage = page(() => import("./pages/threads"), "ThreadsPage");
const SourcesPage = page(() => import("./pages/sources"), "SourcesPage");
const WatchesPage = page(() => import("./pages/watches"), "WatchesPage");
const ModelsPage = page(() => import("./pages/models"), "ModelsPage");
const SettingsPage = page(() => import("./pages/settings"), "SettingsPage");
const PeoplePage = page(() => import("./pages/people"), "PeoplePage");
const RunPage = page(() => import("./pages/run"), "RunPage");
const ChangesPage = page(() => import("./pages/changes"), "ChangesPage");
const SharedPage = page(() => import("./pages/shared"), "SharedPage");
const SignInPage = page(() => import("./pages/signin"), "SignInPage");

const PLACES: [string, string][] = [
  ["/", "Now"],
  ["/search", "Search"],
  ["/threads", "Conversations"],
  ["/watches", "Watches"],
  ["/sources", "Sources"],
  ["/models", "Models and runs"],
  ["/settings", "Settings"],
];

export function App() {
  const session = useSession();
  const client = useQueryClient();
  const [shared] = useRoute("/s/:token");
  useEffect(() => {
    setCsrf(session.data?.csrf ?? "");
  }, [session.data]);
  useEffect(
    () => whenSignedOut(() => void client.invalidateQueries({ queryKey: ["session"] })),
    [client],
  );
  if (shared) return <Alone page={SharedPage} />;
  // Whether a sign-in is wanted decides what may be asked for at all.
  if (session.isPending) return <Waiting label="Opening" />;
  if (session.data && !session.data.signed_in && session.data.sign_in_needed) {
    return <Alone page={SignInPage} />;
  }
  return (
    <div className="frame">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <Side />
      <main id="main" tabIndex={-1}>
        <Demo />
        <Suspense fallback={<Waiting />}>
          <Switch>
            <Route path="/" component={NowPage} />
            <Route path="/c/:id" component={TalkPage} />
            <Route path="/r/:id" component={RunPage} />
            <Route path="/search" component={SearchPage} />
            <Route path="/threads" component={ThreadsPage} />
            <Route path="/sources" component={SourcesPage} />
            <Route path="/watches" component={WatchesPage} />
            <Route path="/models" component={ModelsPage} />
            <Route path="/settings" component={SettingsPage} />
            <Route path="/people" component={PeoplePage} />
            <Route path="/changes/:key" component={ChangesPage} />
            <Route>
              <Redirect to="/" />
            </Route>
          </Switch>
        </Suspense>
      </main>
      <Notices />
      <Keys />
    </div>
  );
}

function Alone({ page: Page }: { page: ComponentType }) {
  return (
    <div className="alone">
      <header>
        <Wordmark />
      </header>
      <main id="main">
        <Suspense fallback={<Waiting />}>
          <Page />
        </Suspense>
      </main>
      <Notices />
    </div>
  );
}

function Wordmark() {
  return (
    <Link className="wordmark" href="/" onClick={() => newTalk()}>
      <img src="/static/icon.svg" alt="" width={26} height={26} />
      Gnomon
    </Link>
  );
}

function Side() {
  const [path] = useLocation();
  const places = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a phone the places are a row that is wider than the window.
    const row = places.current;
    const here = path && row?.querySelector<HTMLElement>("[aria-current]");
    if (row && here) row.scrollLeft = here.offsetLeft - (row.clientWidth - here.clientWidth) / 2;
  }, [path]);
  const threads = useThreads("", null);
  const session = useSession();
  const admin = session.data?.role === "admin" && session.data.sign_in_needed;
  return (
    <header className="side">
      <div className="head">
        <Wordmark />
        <Link className="new" href="/" onClick={() => newTalk()} title="Ask something new (n)">
          New
        </Link>
      </div>
      <nav aria-label="Places" ref={places}>
        {[...PLACES, ...(admin ? [["/people", "Users and keys"] as [string, string]] : [])].map(
          ([to, name]) => (
            <Link key={to} href={to} aria-current={path === to ? "page" : undefined}>
              {name}
              {to === "/watches" && <Unread />}
            </Link>
          ),
        )}
      </nav>
      {!!threads.data?.threads.length && (
        <nav className="recent" aria-label="Recent conversations">
          <h2>Recent</h2>
          {threads.data.threads.slice(0, 30).map((thread) => (
            <Link
              key={thread.id}
              href={`/c/${thread.id}`}
              aria-current={path === `/c/${thread.id}` ? "page" : undefined}
              title={calm(thread.title)}
            >
              {calm(thread.title)}
            </Link>
          ))}
        </nav>
      )}
    </header>
  );
}

function Unread() {
  const watches = useWatches();
  const count = watches.data?.watches.reduce((sum, watch) => sum + watch.unread, 0) ?? 0;
  return count > 0 ? (
    <span className="tag some">
      {count}
      <span className="sr"> not seen yet</span>
    </span>
  ) : null;
}

function Demo() {
  const status = useStatus();
  const banner = status.data?.demo?.banner;
  return banner ? <p className="demo">{banner}</p> : null;
}
