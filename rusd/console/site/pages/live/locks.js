// The tab Locks and elections: holders, and waiters in the order in which they get it.

import { Badge, Dialog, ErrorNote, Field, Value, html, useEffect, usePolling, useState } from "../../parts.js";
import { call } from "../../api.js";
import { formatId, formatInt, fromBase64, fromPrintable, printable } from "../../text.js";
import { findQueues } from "./queues.js";
import { Pager } from "./pager.js";
import { Remaining, askLease, each } from "./lease_parts.js";

/** Keys that are looked at before the button asks for more. */
const BUDGET = 5000;

/** Locks and elections of one page: the holder of each is asked for by itself. */
const PAGE = 20;

/** Waiters of each that are shown at first, and at each press of a button. */
const WAITERS = 5;
const MORE_WAITERS = 100;

/** Milliseconds between two looks: short while one answer holds all keys. */
const POLL_MS = 2000;
const LONG_MS = 15_000;
const FEW_KEYS = 1000;

/** Characters of a value that are shown in a row. */
const PREVIEW = 120;

export function Locks({ params, go }) {
  const prefix = params.get("prefix") ?? "";
  const [typed, setTyped] = useState(prefix);
  const [budget, setBudget] = useState(BUDGET);
  const [page, setPage] = useState(0);
  const [chosen, setChosen] = useState(null);
  const [few, setFew] = useState(true);
  useEffect(() => {
    setTyped(prefix);
    setBudget(BUDGET);
    setPage(0);
  }, [prefix]);
  const look = async () => {
    const found = await findQueues(fromPrintable(prefix), budget);
    const last = Math.max(0, Math.ceil(found.queues.length / PAGE) - 1);
    const at = Math.min(page, last);
    const shown = found.queues.slice(at * PAGE, (at + 1) * PAGE);
    setFew(found.looked <= FEW_KEYS);
    return { ...found, shown: await each(shown, withHolder), page: at, last };
  };
  const { value, error } = usePolling(look, few ? POLL_MS : LONG_MS, `${prefix} ${budget} ${page}`);
  const onSubmit = (event) => {
    event.preventDefault();
    go(`#/live?${new URLSearchParams({ tab: "locks", prefix: typed })}`);
  };
  return html`<form class="live-bar" aria-label="Where to look" onSubmit=${onSubmit}>
      <${Field} label="Prefix">
        <input
          class="mono"
          autocomplete="off"
          autocapitalize="off"
          spellcheck=${false}
          placeholder="all keys"
          value=${typed}
          onInput=${(event) => setTyped(event.target.value)}
        />
      <//>
      <button class="primary">Look</button>
    </form>
    <p class="dim">
      Keys that end in the id of their own lease, as locks and elections of etcd's clients do. The
      oldest key holds the lock, or leads; the others wait in the order shown. Programs that register
      themselves by their lease look the same.
    </p>
    <${ErrorNote} error=${error} />
    ${!value && !error && html`<p class="loading">Looking …</p>`}
    ${value &&
    html`<p class="live-bar">
        <span class="dim">${summary(value)}</span>
        ${value.more &&
        html`<button type="button" onClick=${() => setBudget(budget + BUDGET)}>
          Look at ${formatInt(BUDGET)} more
        </button>`}
      </p>
      ${value.shown.map((queue) => html`<${Queue} key=${queue.name} queue=${queue} onOpen=${setChosen} />`)}
      <${Pager} page=${value.page} last=${value.last} onPage=${setPage} />`}
    ${chosen && html`<${MemberDialog} member=${chosen} onClose=${() => setChosen(null)} />`}`;
}

function summary({ queues, looked, more }) {
  const names = queues.length === 0 ? "No lock or election" : `${formatInt(queues.length)} found`;
  return `${names} among ${more ? "the first " : ""}${formatInt(looked)} ${looked === 1 ? "key" : "keys"}.`;
}

/** Reads the holder's value and lease. Either may be refused: users may read some keys only. */
async function withHolder(queue) {
  const [holder] = queue.members;
  const [answer, lease] = await Promise.all([
    call("kv/range", { key: holder.base64 }).catch((error) => ({ error })),
    askLease(holder.lease).catch((error) => ({ error })),
  ]);
  return { ...queue, value: answer.kvs?.[0]?.value ?? null, lease };
}

function Queue({ queue, onOpen }) {
  const [room, setRoom] = useState(WAITERS);
  const [holder, ...waiters] = queue.members;
  const shown = waiters.slice(0, room);
  const left = waiters.length - shown.length;
  const election = Boolean(queue.value);
  const waiting = `${formatInt(waiters.length)} ${waiters.length === 1 ? "waiter" : "waiters"}`;
  const told = queue.cut ? `at least ${waiting}` : waiters.length ? waiting : "no waiters";
  return html`<section class="card queue" aria-label=${queue.name}>
    <header>
      <h2><code>${queue.name}</code></h2>
      <${Badge} kind="info" text=${election ? "election" : "lock"} />
      <span class="dim">${told}</span>
    </header>
    ${queue.cut &&
    html`<p class="note warn">
      Not all keys of this name were looked at: an older one may hold the lock, or lead.
    </p>`}
    <ol>
      <${Member} member=${holder} role=${election ? "leads" : "holds"} onOpen=${onOpen}>
        ${election && html`<code class="live-value">${preview(queue.value)}</code>`}
        <${Remaining} lease=${queue.lease} />
      <//>
      ${shown.map((member) => html`<${Member} key=${member.base64} member=${member} onOpen=${onOpen} />`)}
    </ol>
    ${left > 0 &&
    html`<button type="button" class="quiet" onClick=${() => setRoom(room + MORE_WAITERS)}>
      Show ${left > MORE_WAITERS ? `${formatInt(MORE_WAITERS)} more of ${waiting}` : `all ${waiting}`}
    </button>`}
  </section>`;
}

function preview(base64) {
  const text = printable(fromBase64(base64.slice(0, PREVIEW * 4)));
  return text.length > PREVIEW ? `${text.slice(0, PREVIEW)} …` : text;
}

function Member({ member, role, onOpen, children }) {
  const id = formatId(member.lease);
  return html`<li>
    ${role ? html`<${Badge} kind="good" text=${role} />` : html`<${Badge} text="waits" />`}
    <button type="button" class="quiet" aria-label=${`Key of lease ${id}`} onClick=${() => onOpen(member)}>
      <code>${id}</code>
    </button>
    <span class="dim">since revision ${formatInt(member.created)}</span>
    ${children}
  </li>`;
}

function MemberDialog({ member, onClose }) {
  const read = async () => {
    const [answer, lease] = await Promise.all([
      call("kv/range", { key: member.base64 }),
      askLease(member.lease).catch((error) => ({ error })),
    ]);
    return { kv: answer.kvs?.[0], lease };
  };
  const { value, error } = usePolling(read, POLL_MS);
  return html`<${Dialog} title=${`Lease ${formatId(member.lease)}`} onClose=${onClose} wide>
    <div class="body">
      <dl class="live-facts">
        <dt>Key</dt>
        <dd><code>${printable(member.key)}</code></dd>
        <dt>Lease</dt>
        <dd><${Remaining} lease=${value?.lease} /></dd>
        <dt>Created at revision</dt>
        <dd>${formatInt(member.created)}</dd>
      </dl>
      <${ErrorNote} error=${error} />
      ${value && !value.kv && html`<p class="note warn">The key is gone.</p>`}
      ${value?.kv &&
      (value.kv.value
        ? html`<${Value} bytes=${fromBase64(value.kv.value)} key=${member.key} />`
        : html`<p class="dim">The value is empty.</p>`)}
    </div>
  <//>`;
}
