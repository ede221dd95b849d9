/** What was done on this server, and by whom. */
import { useInfiniteQuery } from "@tanstack/react-query";
import { call } from "../api/client";
import { Words } from "../ui/text";
import { Time } from "../ui/time";
import { Trouble, Waiting } from "../ui/trouble";
import { Part } from "./parts";

interface AuditEvent {
  number: number;
  at: string;
  actor: string;
  action: string;
  target: string;
  detail: string;
  address: string;
}

const PAGE = 50;

export function Audit() {
  const found = useInfiniteQuery({
    queryKey: ["audit"],
    queryFn: ({ pageParam }) =>
      call<{ events: AuditEvent[] }>("/v1/audit", { query: { limit: PAGE, before: pageParam } }),
    initialPageParam: null as number | null,
    getNextPageParam: (last) => (last.events.length === PAGE ? last.events.at(-1)?.number : null),
    retry: false,
  });
  const events = found.data?.pages.flatMap((page) => page.events);
  return (
    <Part title="What was done">
      {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
      {found.isPending && <Waiting rows={2} label="Reading the list" />}
      {events && !events.length && <p className="facts">Nothing yet.</p>}
      {!!events?.length && (
        <div className="scroll">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">What</th>
                <th scope="col">From</th>
              </tr>
            </thead>
            <tbody>
              {events.map((event) => (
                <tr key={event.number}>
                  <td>
                    <Time at={event.at} />
                  </td>
                  <td>
                    <Words>{event.actor}</Words>
                  </td>
                  <td>
                    <code>{event.action}</code> <Words>{event.target}</Words>{" "}
                    <span className="facts">
                      <Words>{event.detail}</Words>
                    </span>
                  </td>
                  <td>
                    <Words>{event.address || "–"}</Words>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {found.hasNextPage && (
        <button type="button" className="quiet more" onClick={() => void found.fetchNextPage()}>
          Earlier
        </button>
      )}
    </Part>
  );
}
