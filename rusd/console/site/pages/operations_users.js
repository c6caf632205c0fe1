// Users, and whether the cluster asks for them.

import {
  Badge,
  DataTable,
  ErrorNote,
  Field,
  announce,
  html,
  refreshState,
  useEffect,
  useState,
} from "../parts.js";
import { call, session } from "../api.js";
import { FormDialog, useConfirm } from "./operations_action.js";
import { Pages, useNames } from "./operations_names.js";

const readUsers = async () => (await call("auth/user/list")).users ?? [];
const readUser = async (name) => (await call("auth/user/get", { name })).roles ?? [];

function useInput(initial = "") {
  const [value, setValue] = useState(initial);
  return [value, (event) => setValue(event.target.value)];
}

function AddUser({ onClose, onDone }) {
  const [name, setName] = useInput();
  const [password, setPassword] = useInput();
  const [withPassword, setWithPassword] = useState(true);
  const options = { no_password: !withPassword };
  return html`<${FormDialog}
    title="Add a user"
    action="Add user"
    ready=${name !== "" && (!withPassword || password !== "")}
    onClose=${onClose}
    onSubmit=${async () => {
      await call("auth/user/add", { name, password: withPassword ? password : "", options });
      announce(`The user ${name} was added.`);
      onDone();
    }}
  >
    <${Field} label="Name">
      <input data-focus autocomplete="off" spellcheck=${false} value=${name} onInput=${setName} />
    <//>
    <label class="check">
      <input
        type="checkbox"
        checked=${withPassword}
        onChange=${(event) => setWithPassword(event.target.checked)}
      />
      Signs in with a password
    </label>
    ${withPassword
      ? html`<${Field} label="Password">
          <input
            type="password"
            autocomplete="new-password"
            value=${password}
            onInput=${setPassword}
          />
        <//>`
      : html`<p class="dim">
          The user can sign in only with a client certificate whose common name is this name.
        </p>`}
  <//>`;
}

/** A password that is typed twice: it, whether it may be used, and its fields with their labels. */
function useNewPassword() {
  const [password, setPassword] = useInput();
  const [again, setAgain] = useInput();
  const fields = (label, labelAgain) => html`<${Field} label=${label}>
      <input
        data-focus
        type="password"
        autocomplete="new-password"
        value=${password}
        onInput=${setPassword}
      />
    <//>
    <${Field} label=${labelAgain} hint=${again && again !== password ? "The two differ." : ""}>
      <input type="password" autocomplete="new-password" value=${again} onInput=${setAgain} />
    <//>`;
  return { password, ready: password !== "" && password === again, fields };
}

function ChangePassword({ user, onClose }) {
  const { password, ready, fields } = useNewPassword();
  return html`<${FormDialog}
    title=${`Password of ${user}`}
    action="Change password"
    ready=${ready}
    onClose=${onClose}
    onSubmit=${async () => {
      await call("auth/user/changepw", { name: user, password });
      announce(`The password of ${user} was changed.`);
    }}
  >
    <p>The old password of <strong>${user}</strong> no longer works, and its sessions end.</p>
    ${fields("New password", "New password again")}
  <//>`;
}

function GrantRole({ user, has, onClose, onDone }) {
  const [roles, setRoles] = useState([]);
  const [role, setRole] = useState("");
  const [error, setError] = useState(null);
  useEffect(() => {
    call("auth/role/list").then(({ roles: all = [] }) => {
      // etcd adds the role root itself when it is needed.
      const open = [...new Set([...all, "root"])].filter((name) => !has.includes(name)).sort();
      setRoles(open);
      setRole(open[0] ?? "");
    }, setError);
  }, []);
  return html`<${FormDialog}
    title=${`Grant a role to ${user}`}
    action="Grant role"
    ready=${role !== ""}
    onClose=${onClose}
    onSubmit=${async () => {
      await call("auth/user/grant", { user, role });
      announce(`${user} has the role ${role}.`);
      onDone();
    }}
  >
    <${ErrorNote} error=${error} />
    <${Field} label="Role">
      <select data-focus value=${role} onChange=${(event) => setRole(event.target.value)}>
        ${roles.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
    <//>
    ${role === "root" &&
    html`<p class="note warn">The role root allows everything: all keys, members, users and roles.</p>`}
  <//>`;
}

/** Enables authentication, after making the user root if there is none, as etcdctl does. */
function EnableAuth({ users, onClose }) {
  const missing = !users.includes("root");
  const { password, ready, fields } = useNewPassword();
  return html`<${FormDialog}
    title="Enable authentication?"
    action="Enable authentication"
    danger=${true}
    ready=${!missing || ready}
    onClose=${onClose}
    onSubmit=${async () => {
      if (missing) await call("auth/user/add", { name: "root", password, options: {} });
      const { roles: known = [] } = await call("auth/role/list");
      if (!known.includes("root")) await call("auth/role/add", { name: "root" });
      const { roles = [] } = await call("auth/user/get", { name: "root" });
      if (!roles.includes("root")) await call("auth/user/grant", { user: "root", role: "root" });
      await call("auth/enable");
      announce("Authentication is enabled.");
      await refreshState();
    }}
  >
    <p>
      From now on all members refuse every client that does not sign in as a user, and each user may
      do only what its roles allow. Clients that run now without a user fail.
    </p>
    ${missing
      ? html`<p>The user root is needed, and is made with this password. Keep it.</p>
          ${fields("Password of root", "Password again")}`
      : html`<p>Be sure to know the password of root.</p>`}
  <//>`;
}

const disableAuth = {
  title: "Disable authentication?",
  text: html`<p>
    From now on everyone who reaches a client port of a member may read and change all keys, members,
    users and roles. Users and roles are kept.
  </p>`,
  action: "Disable authentication",
  danger: true,
  word: "disable",
  run: async () => {
    await call("auth/disable");
    await refreshState();
  },
  done: "Authentication is disabled.",
};

export default function Users({ allowed, state }) {
  const users = useNames(readUsers, readUser);
  const [confirmation, ask] = useConfirm();
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  const enabled = Boolean(state?.auth_enabled);
  const revoke = (user, role) =>
    ask({
      title: `Revoke the role ${role}?`,
      text: html`<p>
        <strong>${user}</strong> loses all permissions of the role <strong>${role}</strong>.
        ${user === session.user && " This is the user you are signed in as."}
      </p>`,
      action: "Revoke",
      danger: true,
      run: async () => {
        await call("auth/user/revoke", { name: user, role });
        users.refresh();
      },
      done: `${user} no longer has the role ${role}.`,
    });
  const remove = (user) =>
    ask({
      title: `Delete the user ${user}?`,
      text: html`<p>Its sessions end. Its roles stay, without this user.</p>`,
      action: "Delete user",
      danger: true,
      word: user,
      run: async () => {
        await call("auth/user/delete", { name: user });
        users.refresh();
      },
      done: `The user ${user} was deleted.`,
    });
  const columns = [
    {
      key: "name",
      title: "User",
      cell: ({ name }) =>
        html`<strong class="name">${name}</strong>
          ${name === session.user && html` <span class="dim">(you)</span>`}`,
    },
    {
      key: "roles",
      title: "Roles",
      cell: ({ name, detail, error }) =>
        error
          ? html`<${ErrorNote} error=${error} />`
          : html`<div class="chips">
              ${(detail ?? []).map(
                (role) => html`<span class="chip" key=${role}>
                  ${role}
                  <button
                    type="button"
                    class="quiet"
                    disabled=${!allowed}
                    aria-label=${`Revoke the role ${role} of ${name}`}
                    onClick=${() => revoke(name, role)}
                  >
                    ✕
                  </button>
                </span>`,
              )}
              ${detail?.length === 0 && html`<span class="dim">none</span>`}
            </div>`,
    },
    {
      key: "actions",
      title: "Actions",
      cell: ({ name, detail }) => html`<div class="actions">
        <button
          type="button"
          disabled=${!allowed || !detail}
          onClick=${() => setDialog({ Form: GrantRole, user: name, has: detail })}
        >
          Grant role
        </button>
        <button
          type="button"
          disabled=${!allowed}
          onClick=${() => setDialog({ Form: ChangePassword, user: name })}
        >
          Password
        </button>
        <button type="button" class="danger-quiet" disabled=${!allowed} onClick=${() => remove(name)}>
          Delete
        </button>
      </div>`,
    },
  ];
  return html`<section class="card bar">
      <div>
        <h2>Authentication ${html`<${Badge} kind=${enabled ? "good" : "warn"} text=${enabled ? "enabled" : "off"} />`}</h2>
        <p class="dim">
          ${enabled
            ? "Every client signs in; its roles decide what it may do."
            : "Everyone who reaches a client port may do everything. Users and roles have no effect yet."}
        </p>
      </div>
      ${enabled
        ? html`<button type="button" class="danger-quiet" disabled=${!allowed} onClick=${() => ask(disableAuth)}>
            Disable …
          </button>`
        : html`<button
            type="button"
            disabled=${!allowed || !users.names}
            onClick=${() => setDialog({ Form: EnableAuth, users: users.names })}
          >
            Enable …
          </button>`}
    </section>
    <div class="bar">
      <h2>Users</h2>
      <button
        type="button"
        class="primary"
        disabled=${!allowed}
        onClick=${() => setDialog({ Form: AddUser })}
      >
        Add user
      </button>
    </div>
    <${ErrorNote} error=${users.error} />
    ${users.rows &&
    html`<${DataTable}
      caption="Users"
      columns=${columns}
      rows=${users.rows}
      rowKey=${({ name }) => name}
      empty="No users"
      stack=${true}
    />`}
    <${Pages} names=${users} />
    ${confirmation}
    ${dialog && html`<${dialog.Form} ...${dialog} onClose=${close} onDone=${users.refresh} />`}`;
}
