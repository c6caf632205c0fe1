// One key at one revision: its numbers, its value, and what can be done with it.

import {
  Copy,
  ErrorNote,
  html,
  readOnly,
  useCallback,
  useEffect,
  useState,
  Value,
} from "../parts.js";
import { formatDuration, formatId, formatInt, formatTime, printable } from "../text.js";
import { DeleteDialog } from "./delete_dialogs.js";
import { hashOf } from "./links.js";
import { PutDialog } from "./put_dialog.js";
import { lease, read, timeOf } from "./store.js";
import { short } from "./tree.js";

/** {loading, kv, revision, error, again}: the key now, or at a revision. */
export function useKey(key, revision, version) {
  const [state, setState] = useState({ loading: true });
  const [asked, setAsked] = useState(0);
  const id = printable(key);
  useEffect(() => {
    let stopped = false;
    setState((last) => ({ ...(last.id === id ? last : {}), id, loading: true, error: null }));
    read(key, revision).then(
      (found) => !stopped && setState({ id, loading: false, ...found }),
      (error) => !stopped && setState({ id, loading: false, error }),
    );
    return () => { stopped = true; };
  }, [id, revision, version, asked]);
  const again = useCallback(() => setAsked((count) => count + 1), []);
  return { ...(state.id === id ? state : { loading: true }), again };
}

/** A revision, and when it was made if that is known. */
export function Moment({ revision }) {
  const [time, setTime] = useState(null);
  useEffect(() => {
    let stopped = false;
    setTime(null);
    timeOf(revision).then((found) => !stopped && setTime(found));
    return () => { stopped = true; };
  }, [revision]);
  return html`${formatInt(revision)}${time && html` <span class="dim">${inWords(time)}</span>`}`;
}

/** Milliseconds by which the time of a revision may be wrong and is still shown as one. */
const ABOUT_MS = 60000;

function inWords({ from, to }) {
  if (from === null) return `before ${formatTime(to)}`;
  return to - from < ABOUT_MS ? formatTime(to) : `${formatTime(from)} to ${formatTime(to)}`;
}

/** A lease with the time it has left. */
function Lease({ id }) {
  const [found, setFound] = useState(undefined);
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    let stopped = false;
    const ask = async () => {
      const answer = document.hidden ? undefined : await lease(id);
      if (stopped || answer === undefined) return;
      setFound(answer && { ...answer, read: Date.now() });
    };
    ask();
    const asking = setInterval(ask, 10000);
    const ticking = setInterval(() => setNow(Date.now()), 1000);
    return () => {
      stopped = true;
      clearInterval(asking);
      clearInterval(ticking);
    };
  }, [id]);
  const left = found && Math.max(0, Number(found.ttl) - Math.max(0, Math.floor((now - found.read) / 1000)));
  return html`<span class="mono">${formatId(id)}</span>${" "}
    <span class="dim">${found
      ? `${formatDuration(left)} left of ${formatDuration(found.granted)}`
      : found === null && "expired, or not yours to see"}</span>`;
}

export function Facts({ kv }) {
  return html`<dl class="facts">
    <div><dt>Created</dt><dd><${Moment} revision=${kv.create} /></dd></div>
    <div><dt>Modified</dt><dd><${Moment} revision=${kv.mod} /></dd></div>
    <div><dt>Version</dt><dd>${formatInt(kv.version)}</dd></div>
    <div>
      <dt>Lease</dt>
      <dd>${kv.lease === "0" ? html`<span class="dim">none</span>` : html`<${Lease} id=${kv.lease} />`}</dd>
    </div>
  </dl>`;
}

export function KeyName({ bytes }) {
  return html`<div class="key-name">
    <h2 class="mono long">${short(bytes)}</h2>
    <${Copy} text=${printable(bytes)} label="Copy key" />
  </div>`;
}

/** A name for the download of a value. */
export const fileName = (key) =>
  printable(key.subarray(-60)).split("/").at(-1).replace(/[^A-Za-z0-9._-]+/g, "_") || "value";

/** The key now, with buttons to change it. `onChanged` after a change. */
export function KeyDetail({ place, version, onChanged }) {
  const { key } = place;
  const { kv, loading, error, again } = useKey(key, null, version);
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  const changed = () => {
    again();
    onChanged();
  };
  const history = hashOf("history", { ...place, branch: null });
  return html`<article class="card detail" aria-busy=${String(loading)}>
    <${KeyName} bytes=${key} />
    <div class="actions">
      ${kv && !readOnly() && html`
        <button type="button" onClick=${() => setDialog("put")}>Edit</button>
        <button type="button" onClick=${() => setDialog("delete")}>Delete</button>`}
      <a class="button" href=${history}>History</a>
      <button type="button" class="quiet" onClick=${again}>Refresh</button>
    </div>
    <${ErrorNote} error=${error} />
    ${!kv && !error && (loading
      ? html`<p class="loading">Loading …</p>`
      : html`<p class="note warn">This key does not exist now. Its history shows what it was.</p>`)}
    ${kv && html`<${Facts} kv=${kv} />
      ${kv.value.length
        ? html`<${Value} key=${kv.mod} bytes=${kv.value} name=${fileName(key)} />`
        : html`<p class="dim">The value is empty.</p>`}`}
    ${dialog === "put" && html`<${PutDialog} kv=${kv} onDone=${changed} onClose=${close} />`}
    ${dialog === "delete" && html`<${DeleteDialog} kv=${kv} onDone=${changed} onClose=${close} />`}
  </article>`;
}
