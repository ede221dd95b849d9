/** One's conversations and deep runs: found, named, put into folders, shared, taken away. */
import {
  keepPreviousData,
  useInfiniteQuery,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Link, useSearchParams } from "wouter";
import { call } from "../api/client";
import { useThreads } from "../api/queries";
import type { Conversation, Run } from "../api/types";
import { counted } from "../ask/thread";
import { calm, Words } from "../ui/text";
import { span, Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { Choice, Head, useRemoval } from "./parts";
import { RUN_STATES } from "./run-words";
import { ThreadMenu, ThreadName } from "./thread-deeds";

const PAGE = 50;

export function ThreadsPage() {
  const [parameters, setParameters] = useSearchParams();
  const show = parameters.get("show") === "runs" ? "runs" : "threads";
  const tab = (value: string, name: string) => (
    <button
      type="button"
      className="chip"
      aria-pressed={show === value}
      onClick={() => setParameters(value === "runs" ? { show: "runs" } : {}, { replace: true })}
    >
      {name}
    </button>
  );
  return (
    <div className="page">
      <Head title="Conversations" about="Only you see them, unless you share one.">
        {tab("threads", "Conversations")}
        {tab("runs", "Deep runs")}
      </Head>
      {show === "runs" ? <Runs /> : <Threads />}
    </div>
  );
}

function Threads() {
  const client = useQueryClient();
  const [words, setWords] = useState("");
  const [folder, setFolder] = useState("");
  const { hidden, remove } = useRemoval("threads");
  const recent = useThreads("", null);
  const found = useInfiniteQuery({
    queryKey: ["threads", "pages", words, folder],
    queryFn: ({ pageParam, signal }) =>
      call<{ threads: Conversation[] }>("/v1/threads", {
        query: { q: words, folder, limit: PAGE, before: pageParam },
        signal,
      }),
    initialPageParam: "",
    getNextPageParam: (last) =>
      last.threads.length === PAGE ? last.threads.at(-1)?.updated_at : undefined,
    placeholderData: keepPreviousData,
  });
  const all = found.data?.pages.flatMap((page) => page.threads) ?? [];
  const listed = all.filter((thread) => !hidden.has(`/v1/threads/${thread.id}`));
  const folders = [
    ...new Set([...(recent.data?.threads ?? []), ...all].map((thread) => thread.folder)),
  ]
    .filter(Boolean)
    .sort((one, other) => one.localeCompare(other));
  const changed = () => client.invalidateQueries({ queryKey: ["threads"] });
  return (
    <>
      <div className="bar">
        <label className="sr" htmlFor="thread-words">
          Find in conversations
        </label>
        <input
          id="thread-words"
          type="search"
          placeholder="Find by words that stand in them"
          value={words}
          maxLength={500}
          onChange={(event) => setWords(event.target.value)}
        />
        {(folders.length > 0 || folder) && (
          <Choice
            label="Folder"
            hidden
            value={folder}
            options={[
              ["", "All folders"],
              ...folders.map((name): [string, string] => [name, calm(name)]),
            ]}
            onChange={setFolder}
          />
        )}
      </div>
      {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
      {found.isPending && <Waiting rows={4} label="Looking for conversations" />}
      {found.data && !listed.length && (
        <Empty title={words || folder ? "No conversation fits." : "No conversation yet."}>
          <p>
            {words || folder ? (
              "Try fewer words, or look in all folders."
            ) : (
              <>
                <Link href="/">Ask something</Link>; it is kept here.
              </>
            )}
          </p>
        </Empty>
      )}
      <ul className="rows plain" aria-busy={found.isPlaceholderData}>
        {listed.map((thread) => (
          <Row
            key={thread.id}
            thread={thread}
            folders={folders}
            changed={changed}
            remove={remove}
          />
        ))}
      </ul>
      {found.hasNextPage && (
        <button
          type="button"
          className="quiet more"
          disabled={found.isFetchingNextPage}
          onClick={() => void found.fetchNextPage()}
        >
          More
        </button>
      )}
    </>
  );
}

interface RowProps {
  thread: Conversation;
  folders: string[];
  changed: () => Promise<unknown>;
  remove: (path: string, text: string) => void;
}

function Row({ thread, folders, changed, remove }: RowProps) {
  const [renaming, setRenaming] = useState(false);
  return (
    <Line
      deeds={
        <ThreadMenu
          thread={thread}
          folders={folders}
          changed={changed}
          onRename={() => setRenaming(true)}
          onDelete={() => remove(`/v1/threads/${thread.id}`, `“${calm(thread.title)}” is deleted.`)}
        />
      }
    >
      {renaming ? (
        <ThreadName thread={thread} changed={changed} done={() => setRenaming(false)} />
      ) : (
        <p className="title">
          <Link href={`/c/${thread.id}`}>
            <Words>{thread.title}</Words>
          </Link>
        </p>
      )}
      <p className="facts">
        <Time at={thread.updated_at} form="ago" /> · {counted(thread.answers, "answer")}
        {thread.folder && (
          <>
            {" "}
            <span className="tag">
              <Words>{thread.folder}</Words>
            </span>
          </>
        )}
        {thread.share_url && <span className="tag some">shared</span>}
      </p>
    </Line>
  );
}

function Line({ children, deeds }: { children: ReactNode; deeds: ReactNode }) {
  return (
    <li className="item">
      <div>{children}</div>
      <div className="deeds">{deeds}</div>
    </li>
  );
}

function Runs() {
  const { hidden, remove } = useRemoval("runs");
  const found = useQuery({
    queryKey: ["runs"],
    queryFn: () => call<{ runs: Run[] }>("/v1/runs", { query: { limit: 200 } }),
    refetchInterval: (query) =>
      query.state.data?.runs.some((run) => run.status === "running") ? 2_000 : 15_000,
  });
  const listed = found.data?.runs.filter((run) => !hidden.has(`/v1/runs/${run.id}`));
  if (found.error) return <Trouble error={found.error} again={() => void found.refetch()} />;
  if (!listed) return <Waiting rows={4} label="Looking for deep runs" />;
  if (!listed.length) {
    return (
      <Empty title="No deep run yet.">
        <p>
          <Link href="/">Ask something</Link> in the mode Deep: it searches in several directions
          and writes a report.
        </p>
      </Empty>
    );
  }
  return (
    <ul className="rows plain">
      {listed.map((run) => (
        <Line
          key={run.id}
          deeds={
            <button
              type="button"
              className="quiet"
              onClick={() => remove(`/v1/runs/${run.id}`, "The run is forgotten.")}
              aria-label={`Forget ${calm(run.question)}`}
            >
              Forget
            </button>
          }
        >
          <p className="title">
            <Link href={`/r/${run.id}`}>
              <Words>{run.question}</Words>
            </Link>{" "}
            <span className={`tag ${RUN_STATES[run.status].tone}`}>
              {RUN_STATES[run.status].words}
            </span>
          </p>
          <p className="facts">
            <Time at={run.created_at} form="ago" /> · {counted(run.findings, "finding")} ·{" "}
            {counted(run.spent.steps, "step")} · {span(run.spent.seconds)}
          </p>
        </Line>
      ))}
    </ul>
  );
}
