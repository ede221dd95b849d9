/** A conversation that somebody shared: to be read and checked, not to be changed. */
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { useRoute } from "wouter";
import { call } from "../api/client";
import type { Thread } from "../api/types";
import { Evidence } from "../ask/evidence";
import { MayOpen } from "../ask/pill";
import { Talk, type Turn } from "../ask/thread";
import { Body, Freshness } from "../ask/turn";
import { calm } from "../ui/text";
import { Time } from "../ui/time";
import { Trouble, Waiting } from "../ui/trouble";
import { Head } from "./parts";

export function SharedPage() {
  const [, parameters] = useRoute("/s/:token");
  const token = parameters?.token ?? "";
  const found = useQuery({
    queryKey: ["shared", token],
    queryFn: () => call<Thread>(`/v1/shared/${encodeURIComponent(token)}`),
    retry: false,
  });
  const turns = useMemo(() => {
    const talk = new Talk();
    if (found.data) talk.load(found.data);
    return talk.turns;
  }, [found.data]);
  if (found.error) {
    return (
      <div className="page">
        <Head title="Shared conversation" />
        <Trouble error={found.error} again={() => void found.refetch()} />
      </div>
    );
  }
  if (!found.data) return <Waiting rows={4} label="Opening the conversation" />;
  return (
    <MayOpen value={false}>
      <div className="page talk">
        <Head
          title={calm(found.data.title)}
          about={
            <>
              Shared to be read. Last answer <Time at={found.data.updated_at} />.
            </>
          }
        />
        {turns.map((turn) => (
          <Read key={turn.key} turn={turn} />
        ))}
      </div>
    </MayOpen>
  );
}

function Read({ turn }: { turn: Turn }) {
  const { answer } = turn;
  if (!answer) return null;
  return (
    <article className={`turn ${answer.as_of ? "past" : ""}`} aria-label={turn.question}>
      <header className="asked">
        <h2 dir="auto">{calm(turn.question)}</h2>
      </header>
      {answer.as_of ? (
        <p className="past-band">
          As of <Time at={answer.as_of} />: nothing seen later was used.
        </p>
      ) : (
        <p className="facts asked-at">
          Asked <Time at={answer.created_at} />
        </p>
      )}
      <Body turn={turn} />
      <Freshness answer={answer} />
      <Evidence citations={answer.citations} />
    </article>
  );
}
