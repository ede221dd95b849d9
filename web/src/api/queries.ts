/** What several places of the page ask the server for. */
import { useQuery } from "@tanstack/react-query";
import { call } from "./client";
import type { Conversation, Now, Session, SourceState, Status, Watch } from "./types";

export const useSession = () =>
  useQuery({
    queryKey: ["session"],
    queryFn: () => call<Session>("/v1/session"),
    staleTime: 60_000,
    retry: false,
  });

export const useStatus = () =>
  useQuery({
    queryKey: ["status"],
    queryFn: () => call<Status>("/v1/status"),
    refetchInterval: 15_000,
  });

export const useNowPage = () =>
  useQuery({
    queryKey: ["now"],
    queryFn: () => call<Now>("/v1/now"),
    refetchInterval: 10_000,
  });

export const useThreads = (words: string, folder: string | null) =>
  useQuery({
    queryKey: ["threads", words, folder],
    queryFn: () =>
      call<{ threads: Conversation[] }>("/v1/threads", { query: { q: words, folder, limit: 100 } }),
  });

export const useSources = () =>
  useQuery({
    queryKey: ["sources"],
    queryFn: () => call<{ sources: SourceState[] }>("/v1/sources"),
    refetchInterval: 5_000,
  });

export const useWatches = () =>
  useQuery({
    queryKey: ["watches"],
    queryFn: () => call<{ watches: Watch[] }>("/v1/watches"),
    // A server that watches nothing is not asked again and again.
    refetchInterval: (query) => (query.state.error ? false : 15_000),
    retry: false,
  });
