/** What a source is called here and how far it is believed. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { call } from "../api/client";
import type { SourceState } from "../api/types";
import { Dialog } from "../ui/keys";
import { say } from "../ui/notices";
import { calm } from "../ui/text";
import { Trouble } from "../ui/trouble";
import { type Secret, Secrets, secretsIn } from "./secrets";

const USUAL = 0.7;

export function SourceEdit({ source, onClose }: { source: SourceState; onClose: () => void }) {
  const client = useQueryClient();
  const [error, setError] = useState<unknown>(null);
  const [own, setOwn] = useState(typeof source.reliability === "number");
  const [believed, setBelieved] = useState(source.reliability ?? USUAL);
  const path = `/v1/sources/${encodeURIComponent(source.name)}`;
  const keys = useQuery({
    queryKey: ["source-keys", source.name],
    queryFn: () => call<{ keys: Secret[] }>(`${path}/keys`),
  });
  const save = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const title = String(new FormData(form).get("title"));
    try {
      await call(path, {
        method: "PATCH",
        body: { title, settings: { reliability: own ? believed : null, ...secretsIn(form) } },
      });
      await client.invalidateQueries({ queryKey: ["sources"] });
      say(`${calm(title || source.name)} is changed.`);
      onClose();
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <Dialog open onClose={onClose} label={`Change ${calm(source.title || source.name)}`}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <h2>Change {calm(source.title || source.name)}</h2>
        <label>
          Title
          <input name="title" defaultValue={source.title} maxLength={200} autoComplete="off" />
        </label>
        <fieldset className="stack">
          <legend className="sr">How far it is believed</legend>
          <label className="tick">
            <input
              type="checkbox"
              checked={!own}
              onChange={(event) => setOwn(!event.target.checked)}
            />
            Believed as its kind usually is
          </label>
          {own && (
            <label>
              Believed to {Math.round(believed * 100)} %
              <input
                type="range"
                min={0}
                max={1}
                step={0.05}
                value={believed}
                onChange={(event) => setBelieved(event.target.valueAsNumber)}
              />
            </label>
          )}
        </fieldset>
        <Secrets secrets={keys.data?.keys ?? []} />
        {error !== null && <Trouble error={error} />}
        <div className="chips">
          <button type="submit" className="primary">
            Save
          </button>
          <button type="button" className="quiet" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
