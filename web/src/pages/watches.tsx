/** Questions that are asked again by themselves, and what changed in their answers. */
import { keepPreviousData, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { call, Problem } from "../api/client";
import { useWatches } from "../api/queries";
import type { ClaimChange, Watch } from "../api/types";
import { Change } from "../ask/changed";
import { counted } from "../ask/thread";
import { calm, Words } from "../ui/text";
import { Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { useAsk } from "./now";
import { Head, tell, useRemoval } from "./parts";

interface Seen {
  n: number;
  at: string;
  summary: string;
  changes: ClaimChange[];
}

const PAGE = 20;

export function WatchesPage() {
  const found = useWatches();
  const { hidden, remove } = useRemoval("watches");
  const listed = found.data?.watches.filter((watch) => !hidden.has(pathOf(watch)));
  const closed = found.error instanceof Problem && [404, 501].includes(found.error.status);
  return (
    <div className="page">
      <Head
        title="Watches"
        about="A watched question is asked again as news comes in. You see here what changed, and when."
      />
      {closed ? (
        <Empty title="This server does not watch questions.">
          <p>Ask again whenever you like, with “What changed since?” below the answer.</p>
        </Empty>
      ) : (
        <>
          <AddWatch />
          {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
          {found.isPending && <Waiting rows={3} label="Looking for watches" />}
          {listed && !listed.length && (
            <Empty title="Nothing is watched yet.">
              <p>Write a question above, or choose “Watch this” below an answer.</p>
            </Empty>
          )}
          <ul className="rows plain">
            {listed?.map((watch) => (
              <Row
                key={watch.id}
                watch={watch}
                onRemove={() =>
                  remove(pathOf(watch), `“${calm(watch.question)}” is not watched any more.`)
                }
              />
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

const pathOf = (watch: Watch): string => `/v1/watches/${encodeURIComponent(watch.id)}`;

function AddWatch() {
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const add = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const question = String(new FormData(form).get("question")).trim();
    if (!question || busy) return;
    setBusy(true);
    setError(null);
    try {
      await call("/v1/watches", { body: { question } });
      form.reset();
      await client.invalidateQueries({ queryKey: ["watches"] });
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="add" onSubmit={(event) => void add(event)}>
      <div className="find">
        <label className="sr" htmlFor="new-watch">
          Question to watch
        </label>
        <input
          id="new-watch"
          name="question"
          type="text"
          placeholder="A question to watch"
          maxLength={2_000}
          autoComplete="off"
          required
        />
        <button type="submit" className="primary" disabled={busy}>
          {busy ? "Asking…" : "Watch"}
        </button>
      </div>
      {error !== null && <Trouble error={error} />}
    </form>
  );
}

function Row({ watch, onRemove }: { watch: Watch; onRemove: () => void }) {
  const ask = useAsk();
  const client = useQueryClient();
  const [open, setOpen] = useState(false);
  const read = () => {
    call(`${pathOf(watch)}/read`, { method: "POST" })
      .then(() => client.invalidateQueries({ queryKey: ["watches"] }))
      .catch(tell);
  };
  return (
    <li className="item many">
      <div>
        <p className="title">
          <Words>{watch.question}</Words>
          {watch.unread > 0 && <span className="tag some">{watch.unread} new</span>}
        </p>
        <p className="facts">
          since <Time at={watch.created_at} /> · looked at <Time at={watch.checked_at} form="ago" />{" "}
          · {counted(watch.events, "change")}
          {narrowed(watch) && (
            <>
              {" · only "}
              <Words>{narrowed(watch)}</Words>
            </>
          )}
        </p>
        {watch.trouble && (
          <p className="ill-words">
            <Words>{watch.trouble}</Words>
          </p>
        )}
        <details
          className="more-of"
          onToggle={(event) => {
            setOpen(event.currentTarget.open);
            if (event.currentTarget.open && watch.unread) read();
          }}
        >
          <summary>What changed</summary>
          {open && <Events watch={watch} />}
        </details>
      </div>
      <div className="deeds">
        <button type="button" className="quiet" onClick={() => ask(watch.question)}>
          Ask now
        </button>
        <button
          type="button"
          className="quiet"
          onClick={onRemove}
          aria-label={`Stop watching ${calm(watch.question)}`}
        >
          Stop watching
        </button>
      </div>
    </li>
  );
}

const narrowed = ({ sources, kinds, langs, domains }: Watch): string =>
  [...sources, ...kinds, ...langs, ...domains].join(", ");

function Events({ watch }: { watch: Watch }) {
  const found = useInfiniteQuery({
    queryKey: ["watches", watch.id, watch.events],
    queryFn: ({ pageParam }) =>
      call<{ events: Seen[] }>(`${pathOf(watch)}/events`, {
        query: { limit: PAGE, before: pageParam },
      }),
    initialPageParam: null as number | null,
    getNextPageParam: (last) => (last.events.length === PAGE ? last.events.at(-1)?.n : null),
    placeholderData: keepPreviousData,
    retry: false,
  });
  if (found.error) return <Trouble error={found.error} again={() => void found.refetch()} />;
  if (!found.data) return <Waiting rows={1} label="Reading what changed" />;
  const events = found.data.pages.flatMap((page) => page.events);
  if (!events.length) {
    return <p className="facts">The answer has not changed since you began to watch.</p>;
  }
  return (
    <>
      <ol className="events">
        {events.map((event) => (
          <li key={event.n}>
            <p className="headline">
              <Time at={event.at} form="ago" />: <Words>{event.summary}</Words>
            </p>
            <ul className="changed">
              {event.changes
                .filter((change) => change.status !== "unchanged")
                .map((change, at) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: an event does not change
                  <Change key={at} change={change} />
                ))}
            </ul>
          </li>
        ))}
      </ol>
      {found.hasNextPage && (
        <button type="button" className="quiet more" onClick={() => void found.fetchNextPage()}>
          Earlier
        </button>
      )}
    </>
  );
}
