/** Who may come in, with what, and what was done: for admins. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { call } from "../api/client";
import { useSession } from "../api/queries";
import type { Role } from "../api/types";
import { Dialog } from "../ui/keys";
import { say, undoable } from "../ui/notices";
import { calm, Words } from "../ui/text";
import { Time } from "../ui/time";
import { Empty, Trouble, Waiting } from "../ui/trouble";
import { KeysPart } from "./access-keys";
import { Audit } from "./audit";
import { Choice, Head, Part, tell, useRemoval } from "./parts";

export interface User {
  id: string;
  name: string;
  role: Role;
  created_at: string;
  disabled: boolean;
  has_password: boolean;
  subject: string;
}

export const ROLES: [Role, string][] = [
  ["reader", "Reader: asks and reads"],
  ["editor", "Editor: also sources and files"],
  ["admin", "Admin: everything"],
];

const useUsers = () =>
  useQuery({
    queryKey: ["users"],
    queryFn: () => call<{ users: User[] }>("/v1/users"),
    retry: false,
  });

export function PeoplePage() {
  const users = useUsers();
  return (
    <div className="page">
      <Head title="Users and keys" about="Who may come in, and what they may do." />
      {users.error ? (
        <Trouble error={users.error} again={() => void users.refetch()} />
      ) : (
        <>
          <Users users={users.data?.users} />
          <KeysPart everybody names={users.data?.users ?? []} />
          <Audit />
        </>
      )}
    </div>
  );
}

function Users({ users }: { users: User[] | undefined }) {
  const { hidden, remove } = useRemoval("users");
  const session = useSession();
  const listed = users?.filter((user) => !hidden.has(pathOf(user)));
  return (
    <Part title="Users">
      {!listed && <Waiting rows={2} label="Looking for users" />}
      {listed && !listed.length && (
        <Empty
          title={
            session.data?.sign_in_needed
              ? "No accounts: whoever has the server's own key may do everything."
              : "No accounts: whoever is at this machine may do everything."
          }
        >
          <p>
            {session.data?.sign_in_needed
              ? "With an account for each, everybody does only what their role allows."
              : "From the first account on, everybody has to sign in. Make the first one an admin with a password, so that you can."}
          </p>
        </Empty>
      )}
      <ul className="rows plain">
        {listed?.map((user) => (
          <Person
            key={user.id}
            user={user}
            oneself={user.name === session.data?.name}
            onRemove={() =>
              remove(pathOf(user), `${calm(user.name)} is deleted, with all keys and sessions.`)
            }
          />
        ))}
      </ul>
      <AddUser first={listed?.length === 0} />
    </Part>
  );
}

const pathOf = (user: User): string => `/v1/users/${encodeURIComponent(user.name)}`;

function Person({
  user,
  oneself,
  onRemove,
}: {
  user: User;
  oneself: boolean;
  onRemove: () => void;
}) {
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const change = async (body: Partial<User> & { password?: string }) => {
    try {
      await call(pathOf(user), { method: "PATCH", body });
      await client.invalidateQueries({ queryKey: ["users"] });
      return true;
    } catch (error) {
      tell(error);
      return false;
    }
  };
  const lock = async (disabled: boolean) => {
    if (!(await change({ disabled }))) return;
    const text = disabled ? "may not come in any more." : "may come in again.";
    undoable(
      `${calm(user.name)} ${text}`,
      () => {},
      () => void change({ disabled: !disabled }),
    );
  };
  const how = user.subject ? "OpenID" : user.has_password ? "password" : "keys only";
  return (
    <li className="item many">
      <div>
        <p className="title">
          <Words>{user.name}</Words>
          {oneself && <span className="tag good">you</span>}
          {user.disabled && <span className="tag bad">locked out</span>}
        </p>
        <p className="facts">
          signs in by {how} · since <Time at={user.created_at} />
        </p>
      </div>
      <div className="deeds">
        <Choice
          label={`Role of ${calm(user.name)}`}
          hidden
          value={user.role}
          options={ROLES.map(([role]) => [role, role])}
          onChange={(role) => void change({ role: role as Role })}
        />
        <button type="button" className="quiet" onClick={() => setAsking(true)}>
          Password…
        </button>
        <button type="button" className="quiet" onClick={() => void lock(!user.disabled)}>
          {user.disabled ? "Let in" : "Lock out"}
        </button>
        <button
          type="button"
          className="quiet"
          onClick={onRemove}
          aria-label={`Delete ${calm(user.name)}`}
        >
          Delete
        </button>
      </div>
      <Dialog
        open={asking}
        onClose={() => setAsking(false)}
        label={`New password of ${calm(user.name)}`}
      >
        <form
          className="stack"
          onSubmit={async (event) => {
            event.preventDefault();
            const password = String(new FormData(event.currentTarget).get("password"));
            if (await change({ password })) {
              setAsking(false);
              say(`${calm(user.name)} has a new password; other sessions ended.`);
            }
          }}
        >
          <h2>New password of {calm(user.name)}</h2>
          <label>
            Password
            <input
              name="password"
              type="password"
              autoComplete="new-password"
              maxLength={1_000}
              required
            />
          </label>
          <div className="chips">
            <button type="submit" className="primary">
              Set
            </button>
            <button type="button" className="quiet" onClick={() => setAsking(false)}>
              Cancel
            </button>
          </div>
        </form>
      </Dialog>
    </li>
  );
}

function AddUser({ first }: { first: boolean }) {
  const client = useQueryClient();
  const [error, setError] = useState<unknown>(null);
  const add = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const { name, role, password } = Object.fromEntries(new FormData(form));
    setError(null);
    try {
      await call("/v1/users", { body: { name, role, ...(password ? { password } : {}) } });
      form.reset();
      say(`${calm(String(name))} has an account.`);
      // The first account changes who may do what: also for this page.
      await client.invalidateQueries();
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <form className="fields" onSubmit={(event) => void add(event)} autoComplete="off">
      <label className="choice">
        Name
        <input name="name" maxLength={200} required autoComplete="off" />
      </label>
      <label className="choice">
        Password
        <input
          name="password"
          type="password"
          autoComplete="new-password"
          maxLength={1_000}
          required={first}
          placeholder={first ? "" : "none: comes in by key"}
        />
      </label>
      <label className="choice">
        Role
        <select name="role" defaultValue={first ? "admin" : "reader"} key={String(first)}>
          {ROLES.map(([role, words]) => (
            <option key={role} value={role}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" className="primary">
        Add user
      </button>
      {error !== null && <Trouble error={error} />}
    </form>
  );
}
