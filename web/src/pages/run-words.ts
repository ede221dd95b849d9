/** What the states and deeds of a deep run are called. */
import type { RunStatus } from "../api/types";

export const RUN_STATES: Record<RunStatus, { words: string; tone: "good" | "some" | "bad" | "" }> =
  {
    running: { words: "running", tone: "some" },
    done: { words: "done", tone: "good" },
    cancelled: { words: "cancelled", tone: "" },
    failed: { words: "failed", tone: "bad" },
  };

export const DEEDS: Record<string, string> = {
  begun: "Begun",
  asked: "Searched",
  found: "Found",
  opened: "Opened",
  refused: "Left out",
  noted: "Noted",
  resumed: "Resumed",
  ended: "Ended",
};
