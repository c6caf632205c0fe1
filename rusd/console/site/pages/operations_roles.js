// Roles and their permissions.

import { DataTable, ErrorNote, Field, announce, html, useState } from "../parts.js";
import { call } from "../api.js";
import { compareBytes, fromBase64, fromPrintable, prefixEnd, printable, toBase64 } from "../text.js";
import { FormDialog, useConfirm } from "./operations_action.js";
import { Pages, useNames } from "./operations_names.js";

const readRoles = async () => (await call("auth/role/list")).roles ?? [];
const readRole = async (role) => (await call("auth/role/get", { role })).perm ?? [];

const KINDS = { READ: "read", WRITE: "write", READWRITE: "read and write" };

/** The keys of a permission, in words. */
function keys({ key, range_end: rangeEnd }) {
  const from = fromBase64(key);
  const to = fromBase64(rangeEnd);
  const start = printable(from);
  if (to.length === 0) return html`<code>${start}</code>`;
  const open = to.length === 1 && to[0] === 0;
  if (open && (from.length === 0 || (from.length === 1 && from[0] === 0))) return "all keys";
  if (open) return html`all keys from <code>${start}</code>`;
  if (compareBytes(prefixEnd(from), to) === 0) return html`prefix <code>${start}</code>`;
  return html`<code>${start}</code> to <code>${printable(to)}</code> (exclusive)`;
}

function permission(kind, scope, key, end) {
  const start = fromPrintable(key);
  const zero = Uint8Array.of(0);
  if (scope === "all") return { permType: kind, key: toBase64(zero), range_end: toBase64(zero) };
  const ends = { key: new Uint8Array(), prefix: prefixEnd(start), from: zero, range: fromPrintable(end) };
  return { permType: kind, key: toBase64(start), range_end: toBase64(ends[scope]) };
}

function AddRole({ onClose, onDone }) {
  const [name, setName] = useState("");
  return html`<${FormDialog}
    title="Add a role"
    action="Add role"
    ready=${name !== ""}
    onClose=${onClose}
    onSubmit=${async () => {
      await call("auth/role/add", { name });
      announce(`The role ${name} was added.`);
      onDone();
    }}
  >
    <${Field} label="Name" hint="It has no permission until one is granted.">
      <input
        data-focus
        autocomplete="off"
        spellcheck=${false}
        value=${name}
        onInput=${(event) => setName(event.target.value)}
      />
    <//>
  <//>`;
}

function GrantPermission({ role, onClose, onDone }) {
  const [kind, setKind] = useState("READ");
  const [scope, setScope] = useState("prefix");
  const [key, setKey] = useState("");
  const [end, setEnd] = useState("");
  const typed = (set) => (event) => set(event.target.value);
  const perm = permission(kind, scope, key, end);
  return html`<${FormDialog}
    title=${`Grant a permission to ${role}`}
    action="Grant permission"
    ready=${scope === "all" || (key !== "" && (scope !== "range" || end !== ""))}
    onClose=${onClose}
    onSubmit=${async () => {
      await call("auth/role/grant", { name: role, perm });
      announce(`A permission was granted to ${role}.`);
      onDone();
    }}
  >
    <${Field} label="Allows to">
      <select data-focus value=${kind} onChange=${typed(setKind)}>
        ${Object.entries(KINDS).map(([id, title]) => html`<option key=${id} value=${id}>${title}</option>`)}
      </select>
    <//>
    <${Field} label="Which keys">
      <select value=${scope} onChange=${typed(setScope)}>
        <option value="prefix">all keys with a prefix</option>
        <option value="key">one key</option>
        <option value="range">a range of keys</option>
        <option value="from">all keys from one on</option>
        <option value="all">all keys</option>
      </select>
    <//>
    ${scope !== "all" &&
    html`<${Field} label=${{ prefix: "Prefix", key: "Key", range: "First key", from: "First key" }[scope]} hint="Bytes that are no text: \\xNN">
      <input class="mono" autocomplete="off" spellcheck=${false} value=${key} onInput=${typed(setKey)} />
    <//>`}
    ${scope === "range" &&
    html`<${Field} label="End, not included">
      <input class="mono" autocomplete="off" spellcheck=${false} value=${end} onInput=${typed(setEnd)} />
    <//>`}
    <p>
      Users with the role <strong>${role}</strong> may ${KINDS[kind]}: ${scope === "all" || key ? keys(perm) : "…"}
    </p>
  <//>`;
}

export default function Roles({ allowed }) {
  const roles = useNames(readRoles, readRole);
  const [confirmation, ask] = useConfirm();
  const [dialog, setDialog] = useState(null);
  const revoke = (role, perm) =>
    ask({
      title: "Revoke a permission?",
      text: html`<p>
        Users with the role <strong>${role}</strong> may no longer
        ${" "}${KINDS[perm.permType ?? "READ"]}: ${keys(perm)}.
      </p>`,
      action: "Revoke",
      danger: true,
      run: async () => {
        await call("auth/role/revoke", { role, key: perm.key, range_end: perm.range_end });
        roles.refresh();
      },
      done: `A permission of ${role} was revoked.`,
    });
  const remove = (role) =>
    ask({
      title: `Delete the role ${role}?`,
      text: html`<p>All users that have it lose its permissions.</p>`,
      action: "Delete role",
      danger: true,
      word: role,
      run: async () => {
        await call("auth/role/delete", { role });
        roles.refresh();
      },
      done: `The role ${role} was deleted.`,
    });
  const columns = [
    { key: "name", title: "Role", cell: ({ name }) => html`<strong class="name">${name}</strong>` },
    {
      key: "permissions",
      title: "Permissions",
      cell: ({ name, detail, error }) => {
        if (error) return html`<${ErrorNote} error=${error} />`;
        if (name === "root") return html`<span class="dim">everything</span>`;
        if (detail?.length === 0) return html`<span class="dim">none</span>`;
        return html`<ul class="permissions">
          ${detail?.map(
            (perm) => html`<li key=${`${perm.permType} ${perm.key} ${perm.range_end}`}>
              <span>${KINDS[perm.permType ?? "READ"]}: ${keys(perm)}</span>
              <button
                type="button"
                class="quiet"
                disabled=${!allowed}
                aria-label=${`Revoke ${KINDS[perm.permType ?? "READ"]} of ${printable(fromBase64(perm.key))} from ${name}`}
                onClick=${() => revoke(name, perm)}
              >
                ✕
              </button>
            </li>`,
          )}
        </ul>`;
      },
    },
    {
      key: "actions",
      title: "Actions",
      cell: ({ name }) => html`<div class="actions">
        ${name !== "root" &&
        html`<button
          type="button"
          disabled=${!allowed}
          onClick=${() => setDialog({ Form: GrantPermission, role: name })}
        >
          Grant permission
        </button>`}
        <button type="button" class="danger-quiet" disabled=${!allowed} onClick=${() => remove(name)}>
          Delete
        </button>
      </div>`,
    },
  ];
  return html`<div class="bar">
      <h2>Roles</h2>
      <button
        type="button"
        class="primary"
        disabled=${!allowed}
        onClick=${() => setDialog({ Form: AddRole })}
      >
        Add role
      </button>
    </div>
    <${ErrorNote} error=${roles.error} />
    ${roles.rows &&
    html`<${DataTable}
      caption="Roles"
      columns=${columns}
      rows=${roles.rows}
      rowKey=${({ name }) => name}
      empty="No roles"
      stack=${true}
    />`}
    <${Pages} names=${roles} />
    ${confirmation}
    ${dialog &&
    html`<${dialog.Form} ...${dialog} onClose=${() => setDialog(null)} onDone=${roles.refresh} />`}`;
}
