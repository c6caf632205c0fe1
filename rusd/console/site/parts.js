// Hooks and components that pages share.

import {
  html,
  render,
  useCallback,
  useEffect,
  useErrorBoundary,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "./lib/htm-preact.js";
import { data, isRoot, onSession, session } from "./api.js";
import { formatSize, hexDump, isKubernetes, toText } from "./text.js";
import { prettyJson } from "./pages/pretty.js";

export {
  html,
  render,
  useCallback,
  useEffect,
  useErrorBoundary,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
};

/* State of the member: one copy for all pages. */

let state = null;
const watchers = new Set();

/** Reads the member's state again, for all who use it. Throws ApiError. */
export async function refreshState() {
  state = await data("state");
  for (const watcher of watchers) watcher();
}

/** The last state of the member ({name, version, read_only, auth_enabled, …}) or null. */
export function useMemberState() {
  const [, again] = useState(0);
  useEffect(() => {
    const watcher = () => again((count) => count + 1);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, []);
  return state;
}

/** Whether this member refuses changes made from the console. */
export function readOnly() {
  return Boolean(state?.read_only);
}

/** Whether the caller may use calls that etcd reserves for the role root. */
export function root() {
  return isRoot(state);
}

/** The session, anew after each change. */
export function useSession() {
  const [, again] = useState(0);
  useEffect(() => onSession(() => again((count) => count + 1)), []);
  return session;
}

/* Hooks. */

/**
 * Calls `fn` now and `ms` after each end; not while the tab is hidden. Keeps the last value beside
 * an error. `refresh` calls at once; a change of `key` forgets the value.
 */
export function usePolling(fn, ms, key = "") {
  const [result, setResult] = useState({ key, value: undefined, error: null });
  const latest = useRef(fn);
  latest.current = fn;
  const poke = useRef(() => {});
  useEffect(() => {
    let stopped = false;
    let timer = 0;
    let running = false;
    let wanted = false;
    const run = async () => {
      clearTimeout(timer);
      if (running) {
        wanted = true;
        return;
      }
      running = true;
      let change;
      try {
        change = { value: await latest.current(), error: null };
      } catch (error) {
        change = { error };
      }
      running = false;
      if (stopped) return;
      setResult((last) => ({ ...(last.key === key ? last : {}), key, ...change }));
      if (wanted) {
        wanted = false;
        run();
      } else if (!document.hidden) timer = setTimeout(run, ms);
    };
    const onVisible = () => !document.hidden && run();
    document.addEventListener("visibilitychange", onVisible);
    poke.current = run;
    run();
    return () => {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [ms, key]);
  const refresh = useCallback(() => poke.current(), []);
  const current = result.key === key ? result : { value: undefined, error: null };
  return { value: current.value, error: current.error, refresh };
}

let ids = 0;

/** An id that no other element of the document has. */
export function useId() {
  return useMemo(() => `id-${++ids}`, []);
}

/* Notes. */

/** An error in the server's words; nothing if there is none. */
export function ErrorNote({ error }) {
  if (!error) return null;
  return html`<p class="note error" role="alert">${error.message || String(error)}</p>`;
}

/** Text in a small coloured frame. kind: "good", "warn", "bad", "info" or "" (grey). */
export function Badge({ kind = "", text }) {
  return html`<span class=${`badge ${kind}`}>${text}</span>`;
}

let say = () => {};

/** Tells the result of an action in the corner of the page and to screen readers. */
export function announce(text, kind = "good") {
  say({ text, kind });
}

/** Shows what `announce` told, for some seconds. */
export function Announcements() {
  const [told, setTold] = useState([]);
  useEffect(() => {
    let count = 0;
    say = (message) => {
      const id = ++count;
      setTold((all) => [...all.slice(-3), { ...message, id }]);
      setTimeout(() => setTold((all) => all.filter((one) => one.id !== id)), 8000);
    };
    return () => (say = () => {});
  }, []);
  return html`<div class="announcements" role="status" aria-live="polite">
    ${told.map(({ id, text, kind }) => html`<p key=${id} class=${`note ${kind}`}>${text}</p>`)}
  </div>`;
}

/* Dialogs. */

/** A modal dialog: Escape closes, the focus stays inside and returns. */
export function Dialog({ title, onClose, children, wide = false }) {
  const element = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    // Preact sets no `autofocus` in time.
    dialog.querySelector("[data-focus]")?.focus();
    return () => dialog.close();
  }, []);
  const onCancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog
    ref=${element}
    class=${wide ? "wide" : ""}
    aria-labelledby=${id}
    onCancel=${onCancel}
  >
    <header>
      <h2 id=${id}>${title}</h2>
      <button type="button" class="quiet" aria-label="Close" onClick=${onClose}>✕</button>
    </header>
    ${children}
  </dialog>`;
}

/**
 * Asks before an action. `text` says in words what will happen; `word`, if given, must be typed.
 * `onConfirm` may return a promise: its error is shown, its success closes the dialog.
 */
export function Confirm({ title, text, action, danger, word, onConfirm, onClose, children }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [typed, setTyped] = useState("");
  const id = useId();
  const onSubmit = async (event) => {
    event.preventDefault();
    if (busy || (word && typed !== word)) return;
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${onSubmit}>
      <div class="confirm-text">${text}</div>
      ${children}
      ${word &&
      html`<p class="field">
        <label for=${id}>Type <code>${word}</code> to confirm</label>
        <input
          id=${id}
          data-focus
          autocomplete="off"
          spellcheck=${false}
          value=${typed}
          onInput=${(event) => setTyped(event.target.value)}
        />
      </p>`}
      <${ErrorNote} error=${error} />
      <footer>
        <button type="button" data-focus=${word ? undefined : true} onClick=${onClose}>
          Cancel
        </button>
        <button class=${danger ? "danger" : "primary"} disabled=${busy || (word && typed !== word)}>
          ${busy ? "Working …" : action}
        </button>
      </footer>
    </form>
  <//>`;
}

/* Tables, tabs. */

/**
 * A table. columns: [{key, title, cell, align}], where `cell(row)` returns what is shown (default:
 * row[key]) and align is "left" or "right". `onRow(row)`: rows are chosen by click or Enter.
 * `stack`: on a narrow screen each row becomes a list of titles and cells.
 */
export function DataTable({ caption, columns, rows, rowKey, onRow, empty = "None", stack = false }) {
  const choose = (row) => (event) => {
    if (event.type === "keydown" && (event.key !== "Enter" || event.target !== event.currentTarget))
      return;
    if (event.type === "click" && event.target.closest("button, a, input")) return;
    event.preventDefault(); // the same Enter would press the button that a dialog gives the focus
    onRow(row);
  };
  return html`<div class=${stack ? "table stack" : "table"} role="region" aria-label=${caption} tabindex="0">
    <table>
      <caption class="hidden">${caption}</caption>
      <thead>
        <tr>
          ${columns.map(
            ({ key, title, align }) => html`<th key=${key} scope="col" class=${align}>${title}</th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, index) => html`<tr
            key=${rowKey ? rowKey(row) : index}
            class=${onRow ? "choice" : ""}
            tabindex=${onRow ? 0 : undefined}
            onClick=${onRow && choose(row)}
            onKeyDown=${onRow && choose(row)}
          >
            ${columns.map(
              ({ key, title, cell, align }) => html`<td key=${key} class=${align} data-title=${title}>
                ${cell ? cell(row) : row[key]}
              </td>`,
            )}
          </tr>`,
        )}
        ${rows.length === 0 &&
        html`<tr>
          <td class="empty" colspan=${columns.length}>${empty}</td>
        </tr>`}
      </tbody>
    </table>
  </div>`;
}

/** A row of tabs; arrow keys move between them. */
export function Tabs({ label, tabs, selected, onSelect }) {
  const onKey = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex(({ id }) => id === selected);
    const next = (at + step + tabs.length) % tabs.length;
    onSelect(tabs[next].id);
    event.currentTarget.children[next].focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${onKey}>
    ${tabs.map(
      ({ id, title }) => html`<button
        type="button"
        key=${id}
        role="tab"
        aria-selected=${String(id === selected)}
        tabindex=${id === selected ? 0 : -1}
        onClick=${() => onSelect(id)}
      >
        ${title}
      </button>`,
    )}
  </div>`;
}

/** A labelled control: `<${Field} label="Name"><input …/><//>`; `hint` is shown below. */
export function Field({ label, hint, children: control }) {
  const id = useId();
  const described = hint ? `${id}-hint` : undefined;
  // A copy of the element with the id that the label and the hint need.
  const named = { ...control, props: { ...control.props, id, "aria-describedby": described } };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${named}
    ${hint && html`<small id=${described}>${hint}</small>`}
  </div>`;
}

/** A button that copies text. (The clipboard of the browser needs HTTPS or localhost.) */
export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      // Inside an open dialog all else is inert.
      const place = document.querySelector("dialog[open]") ?? document.body;
      place.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${done ? "Copied" : label}</button>`;
}

/** Hands the parts of a file (bytes, Blobs) to the browser's download. */
export function download(name, parts) {
  const url = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

/* Values of keys. */

/** Bytes of a value that are shown; of more, the rest is downloaded. */
const SHOWN = 256 * 1024;

/**
 * The bytes of a value as text, JSON, hexadecimal or Kubernetes object. `pages/kubernetes.js`
 * exports the last as default component with the property `bytes`.
 */
export function Value({ bytes, key: _, name = "value" }) {
  const cut = bytes.length > SHOWN;
  const shown = useMemo(() => (cut ? bytes.subarray(0, characterAt(bytes, SHOWN)) : bytes), [bytes]);
  const text = useMemo(() => toText(shown), [shown]);
  const json = useMemo(() => (text === null ? null : prettyJson(text)), [text]);
  const object = useMemo(() => isKubernetes(bytes), [bytes]);
  const tabs = [
    object && { id: "kubernetes", title: "Kubernetes" },
    json !== null && { id: "json", title: "JSON" },
    text !== null && { id: "text", title: "Text" },
    { id: "hex", title: "Hex" },
  ].filter(Boolean);
  const [chosen, setChosen] = useState(null);
  const selected = tabs.some(({ id }) => id === chosen) ? chosen : tabs[0].id;
  return html`<div class="value">
    <div class="value-head">
      <${Tabs} label="Show the value as" tabs=${tabs} selected=${selected} onSelect=${setChosen} />
      <span class="dim">${formatSize(bytes.length)}</span>
      <button type="button" class="quiet" onClick=${() => download(name, [bytes])}>Download</button>
      ${text !== null && !cut && html`<${Copy} text=${text} />`}
    </div>
    ${cut && html`<p class="note warn">The first ${formatSize(SHOWN)} are shown.</p>`}
    ${selected === "kubernetes" && html`<${Kubernetes} bytes=${bytes} />`}
    ${selected === "json" && html`<pre tabindex="0">${json}</pre>`}
    ${selected === "text" && html`<pre tabindex="0">${text}</pre>`}
    ${selected === "hex" && html`<pre tabindex="0" class="hex">${hexDump(shown)}</pre>`}
  </div>`;
}

/** The start of the character in UTF-8 to which the byte `at` belongs. */
function characterAt(bytes, at) {
  let start = at;
  while (start > at - 3 && (bytes[start] & 0xc0) === 0x80) start--;
  return start;
}

function Kubernetes({ bytes }) {
  const [Page, setPage] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    import("./pages/kubernetes.js").then((module) => setPage(() => module.default), setError);
  }, []);
  if (error) return html`<${ErrorNote} error=${error} />`;
  return Page ? html`<${Page} bytes=${bytes} />` : html`<p class="loading">Loading …</p>`;
}
