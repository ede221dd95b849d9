/** A conversation: its turns, and the box for the next question. */
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { useLocation, useParams } from "wouter";
import { call } from "../api/client";
import type { Thread } from "../api/types";
import { USUAL, type Wish } from "../ask/asked";
import { Composer } from "../ask/composer";
import { currentTalk, newTalk, type Talk } from "../ask/thread";
import { TurnView } from "../ask/turn";
import { calm } from "../ui/text";
import { Trouble, Waiting } from "../ui/trouble";
import { deepen, useAsk } from "./now";

export function TalkPage() {
  const { id = "" } = useParams<{ id: string }>();
  const [error, setError] = useState<unknown>(null);
  const [talk, setTalk] = useState<Talk | null>(() => {
    const open = currentTalk();
    return open.threadId === id ? open : null;
  });
  useEffect(() => {
    const open = currentTalk();
    if (open.threadId === id) {
      setTalk(open);
      return;
    }
    const next = newTalk();
    setTalk(null);
    setError(null);
    if (next.resume(id, true)) {
      setTalk(next);
      return;
    }
    let left = false;
    call<Thread>(`/v1/threads/${encodeURIComponent(id)}`)
      .then((thread) => {
        next.load(thread);
        if (!next.resume(id)) next.askAgain(id);
      })
      .then(
        () => left || setTalk(next),
        (problem) => left || setError(problem),
      );
    return () => {
      left = true;
    };
  }, [id]);
  if (error) return <Trouble error={error} />;
  if (!talk) return <Waiting rows={4} label="Opening the conversation" />;
  return <Conversation talk={talk} />;
}

export function Conversation({ talk }: { talk: Talk }) {
  useSyncExternalStore(talk.subscribe, () => talk.version);
  const client = useQueryClient();
  const [, go] = useLocation();
  const askAnew = useAsk();
  const end = useRef<HTMLDivElement>(null);
  const path = talk.path;
  const last = path.at(-1);
  const done = last?.state === "done";
  useEffect(() => {
    document.title = talk.title ? `${calm(talk.title)} · Gnomon` : "Gnomon";
    return () => {
      document.title = "Gnomon";
    };
  }, [talk.title]);
  useEffect(() => {
    if (done) void client.invalidateQueries({ queryKey: ["threads"] });
  }, [done, client]);
  const count = path.length;
  useEffect(() => {
    if (count > 1) end.current?.previousElementSibling?.scrollIntoView({ block: "start" });
  }, [count]);
  const ask = (question: string, wish: Wish, parent: string | null) => {
    if (wish.mode === "deep") void deepen(question, wish).then((run) => run && go(`/r/${run.id}`));
    else if (parent === null && talk.threadId) askAnew(question, wish);
    else talk.ask(question, wish, parent);
  };
  return (
    <div className="talk">
      {path.map((turn) => (
        <TurnView
          key={turn.key}
          talk={talk}
          turn={turn}
          version={
            turn.state === "running"
              ? `${talk.version}`
              : `${turn.state} ${talk.branches(turn.parent).length} ${turn === last}`
          }
          last={turn === last}
          onAsk={ask}
        />
      ))}
      <div ref={end} />
      {last && (
        <div className="next">
          <Composer
            followUp
            autoFocus
            wish={{
              ...USUAL,
              ...last.wish,
              mode: last.wish.mode === "deep" ? "fast" : last.wish.mode,
            }}
            busy={last.state === "running"}
            onStop={() => talk.stop(last)}
            onAsk={(question, wish) => ask(question, wish, last.id ?? last.parent)}
          />
        </div>
      )}
    </div>
  );
}
