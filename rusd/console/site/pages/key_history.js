// The changes of one key that the store still has, and their differences.

import {
  Badge,
  ErrorNote,
  html,
  readOnly,
  Tabs,
  useEffect,
  useRef,
  useState,
  Value,
} from "../parts.js";
import { formatId, formatInt, formatSize, printable } from "../text.js";
import { DiffView } from "./diff_view.js";
import { fileName, KeyName, Moment } from "./key_detail.js";
import { PutDialog } from "./put_dialog.js";
import { isCompacted, read, versions } from "./store.js";

/** Pages of changes that are kept. */
const MOST_SHOWN = 1000;
const VIEWS = [
  { id: "previous", title: "Changes" },
  { id: "now", title: "Against now" },
  { id: "value", title: "Value" },
];

/** {changes, more, first, error, loading, older, again}: the changes of `key`, newest first. */
function useVersions(key, version) {
  const [state, setState] = useState({ loading: true });
  const [asked, setAsked] = useState(0);
  const id = printable(key);
  useEffect(() => {
    let stopped = false;
    setState((last) => ({ ...(last.id === id ? last : {}), id, loading: true, error: null }));
    versions(key).then(
      (page) => !stopped && setState({ id, loading: false, ...page }),
      (error) => !stopped && setState({ id, loading: false, error }),
    );
    return () => { stopped = true; };
  }, [id, version, asked]);
  const older = async () => {
    setState((last) => ({ ...last, loading: true }));
    try {
      const last = BigInt(state.versions.at(-1).revision) - 1n;
      const page = await versions(key, last);
      setState((now) =>
        now.id === id
          ? { ...now, loading: false, more: page.more, versions: [...now.versions, ...page.versions] }
          : now,
      );
    } catch (error) {
      setState((now) => ({ ...now, loading: false, error }));
    }
  };
  return { ...(state.id === id ? state : { loading: true }), older, again: () => setAsked((n) => n + 1) };
}

/** {bytes (null: no such key), kv, loading, error}: the value of a key at a revision. */
function useValue(key, revision) {
  const [state, setState] = useState({ loading: true });
  const id = `${printable(key)} ${revision}`;
  useEffect(() => {
    if (revision === undefined) return undefined;
    let stopped = false;
    read(key, revision).then(
      ({ kv }) => !stopped && setState({ id, loading: false, kv, bytes: kv?.value ?? null }),
      (error) => !stopped && setState({ id, loading: false, error }),
    );
    return () => { stopped = true; };
  }, [id]);
  return state.id === id ? state : { loading: true };
}

const max = (one, other) => (BigInt(one) > BigInt(other) ? one : other);

/** What one change did: against the version before, against the present value, or its value. */
function Change({ keyBytes, change, first, newest, view, onCompacted, onRestored, onTravel }) {
  // The oldest version may be older than the compact revision, at which it can be read.
  const at = max(change.revision, first);
  const shown = useValue(keyBytes, at);
  const beforeAt = BigInt(change.revision) - 1n;
  const known = beforeAt >= BigInt(first) || change.version === "1";
  const other = view === "now" ? null : String(beforeAt);
  const readable = view === "now" || (view === "previous" && beforeAt >= BigInt(first) && beforeAt > 0n);
  const against = useValue(keyBytes, readable ? other : undefined);
  const [restoring, setRestoring] = useState(null);
  const error = shown.error ?? (readable ? against.error : null);
  if (error) {
    return isCompacted(error)
      ? html`<p class="note warn">Revision ${formatInt(at)} has been compacted meanwhile.
          <button type="button" onClick=${onCompacted}>Read the history again</button></p>`
      : html`<${ErrorNote} error=${error} />`;
  }
  if (shown.loading || (readable && against.loading)) return html`<p class="loading">Loading …</p>`;
  const restore = async () => setRestoring({ kv: (await read(keyBytes, null)).kv });
  return html`<div class="change">
    ${view === "value" && (shown.bytes === null
      ? html`<p class="dim">Deleted at this revision.</p>`
      : shown.bytes.length
        ? html`<${Value} bytes=${shown.bytes} name=${fileName(keyBytes)} />`
        : html`<p class="dim">The value is empty.</p>`)}
    ${view === "previous" && (known
      ? html`<${DiffView} before=${readable ? against.bytes : null} after=${shown.bytes} />`
      : html`<p class="dim">What was before has been compacted. The value:</p>
          <${Value} bytes=${shown.bytes ?? new Uint8Array()} name=${fileName(keyBytes)} />`)}
    ${view === "now" && html`<${DiffView} before=${shown.bytes} after=${against.bytes} />`}
    <div class="actions">
      ${BigInt(change.revision) >= BigInt(first) &&
      html`<button type="button" onClick=${onTravel}>Show all keys at this revision</button>`}
      ${!readOnly() && shown.bytes !== null && change.revision !== newest &&
      html`<button type="button" onClick=${restore}>Put this value again …</button>`}
    </div>
    ${restoring && html`<${PutDialog}
      kv=${restoring.kv ?? null}
      prefix=${keyBytes}
      value=${shown.bytes}
      onDone=${onRestored}
      onClose=${() => setRestoring(null)}
    />`}
  </div>`;
}

/** `revision`: that of the page (null: now), whose version is shown first. */
export function KeyHistory({ keyBytes, revision, version, onRevision, onChanged }) {
  const history = useVersions(keyBytes, version);
  const [chosen, setChosen] = useState(null);
  const [view, setView] = useState("previous");
  const list = useRef(null);
  useEffect(() => setChosen(null), [revision]);
  const changes = history.versions ?? [];
  const current = changes.find((one) => revision === null || BigInt(one.revision) <= BigInt(revision));
  const selected = changes.find((one) => one.revision === chosen) ?? current ?? null;
  useEffect(() => {
    const box = list.current?.getBoundingClientRect();
    const row = list.current?.querySelector(".selected")?.getBoundingClientRect();
    if (row) list.current.scrollTop += Math.min(0, row.top - box.top) + Math.max(0, row.bottom - box.bottom);
  }, [selected?.revision]);
  const choose = (change) => setChosen(change.revision);
  const onKeyDown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const next = step && changes[changes.indexOf(selected) + step];
    if (!next) return;
    event.preventDefault();
    choose(next);
    event.currentTarget.querySelector(`[data-revision="${next.revision}"]`)?.focus();
  };
  return html`<article class="card detail" aria-busy=${String(Boolean(history.loading))}>
    <${KeyName} bytes=${keyBytes} />
    <${ErrorNote} error=${history.error} />
    ${!history.versions && !history.error && html`<p class="loading">Loading …</p>`}
    ${history.versions && !changes.length &&
    html`<p class="dim">
      No change of this key is kept: it never existed, or was deleted before revision${" "}
      ${formatInt(history.first_revision)}, the oldest that can be read.
    </p>`}
    ${changes.length > 0 && html`
      <ol class="versions" ref=${list} aria-label="Changes, newest first" onKeyDown=${onKeyDown}>
        ${changes.map((one) => html`<li key=${one.revision}>
          <button
            type="button"
            class=${one === selected ? "selected" : ""}
            aria-pressed=${String(one === selected)}
            tabindex=${one === selected || (!selected && one === changes[0]) ? 0 : -1}
            data-revision=${one.revision}
            onClick=${() => choose(one)}
          >
            <span class="number">${formatInt(one.revision)}</span>
            ${one.deleted
              ? html`<${Badge} kind="bad" text="deleted" />`
              : one.version === "1"
                ? html`<${Badge} kind="good" text="created" />`
                : html`<span class="dim">version ${formatInt(one.version)}</span>`}
            ${one === current && revision !== null && html`<${Badge} kind="info" text=${`at ${formatInt(revision)}`} />`}
            <span class="dim right">${one.deleted ? "" : formatSize(one.size)}</span>
          </button>
        </li>`)}
      </ol>
      ${history.more && (changes.length < MOST_SHOWN
        ? html`<p><button type="button" disabled=${history.loading} onClick=${history.older}>Show older changes</button></p>`
        : html`<p class="dim">The newest ${formatInt(changes.length)} changes.</p>`)}
      ${!history.more && BigInt(history.first_revision) > 1n &&
      html`<p class="dim small">
        Older changes, if any, were removed by the compaction at revision${" "}
        ${formatInt(history.first_revision)}.
      </p>`}
      ${!selected && html`<p class="dim">The key did not exist at revision ${formatInt(revision)}.</p>`}
      ${selected && html`
        <h3>${selected.deleted ? "Deleted" : selected.version === "1" ? "Created" : "Changed"} at revision${" "}
          <${Moment} revision=${selected.revision} /></h3>
        ${!selected.deleted && selected.lease !== "0" &&
        html`<p class="dim">Lease <span class="mono">${formatId(selected.lease)}</span></p>`}
        <${Tabs} label="Show" tabs=${VIEWS} selected=${view} onSelect=${setView} />
        <${Change}
          key=${`${selected.revision} ${view}`}
          keyBytes=${keyBytes}
          change=${selected}
          first=${max(history.first_revision, "1")}
          newest=${changes[0].revision}
          view=${view}
          onCompacted=${history.again}
          onRestored=${onChanged}
          onTravel=${() => onRevision(selected.revision)}
        />`}`}
  </article>`;
}
