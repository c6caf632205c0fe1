// Writing one key: edit, review the difference, put if nothing has changed meanwhile.

import {
  announce,
  Copy,
  Dialog,
  ErrorNote,
  Field,
  html,
  Tabs,
  useState,
  Value,
} from "../parts.js";
import {
  formatId,
  formatInt,
  formatSize,
  fromPrintable,
  parseId,
  printable,
  toBytes,
  toText,
} from "../text.js";
import { DiffView } from "./diff_view.js";
import { put } from "./store.js";
import { short } from "./tree.js";

/** Bytes of a value that is edited as text or hexadecimal; others come from a file. */
const EDITED = 256 * 1024;

const FORMS = [
  { id: "text", title: "Text" },
  { id: "hex", title: "Hex" },
  { id: "file", title: "File" },
];

const toHex = (bytes) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

function fromHex(text) {
  const digits = text.replace(/\s+/g, "");
  if (/[^0-9a-fA-F]/.test(digits)) throw new Error("Only hexadecimal digits and spaces, please.");
  if (digits.length % 2) throw new Error("The last byte has one digit only.");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** How a value is edited: as text only if a text field keeps every byte of it. */
function formOf(bytes) {
  if (bytes.length > EDITED) return "file";
  const text = toText(bytes);
  return text === null || text.includes("\r") || text.startsWith("\ufeff") ? "hex" : "text";
}

function contentOf(bytes, form) {
  if (form === "file" || bytes.length > EDITED) return "";
  return form === "text" ? (toText(bytes) ?? "") : toHex(bytes);
}

/**
 * Edits `kv` (null: a new key, whose name may begin with `prefix`); `value`: what is proposed
 * instead of the present value. `onDone(key)` after the put.
 */
export function PutDialog({ kv: first, prefix, value: proposed, onDone, onClose }) {
  const [kv, setKv] = useState(first);
  const [name, setName] = useState(() => printable(first?.key ?? prefix ?? new Uint8Array()));
  const [initial] = useState(() => proposed ?? first?.value ?? new Uint8Array());
  const [form, setForm] = useState(() => formOf(initial));
  const [content, setContent] = useState(() => contentOf(initial, formOf(initial)));
  const [file, setFile] = useState(initial.length > EDITED ? initial : null);
  const [lease, setLease] = useState(first ? "keep" : "none");
  const [leaseId, setLeaseId] = useState("");
  const [review, setReview] = useState(proposed ? { value: initial } : null);
  const [conflict, setConflict] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);

  const edited = () => {
    if (form === "text") return toBytes(content);
    if (form === "hex") return fromHex(content);
    if (!file) throw new Error("Choose a file.");
    return file;
  };
  const change = (next) => {
    try {
      const bytes = edited();
      if (next === "text" && bytes.length <= EDITED && formOf(bytes) !== "text") {
        throw new Error("As text this value would change: it has bytes that a text field does not keep.");
      }
      setContent(contentOf(bytes, next));
      setFile(next === "file" ? bytes : file);
      setError(null);
    } catch (failure) {
      setError(failure);
      return;
    }
    setForm(next);
  };
  const toReview = (event) => {
    event.preventDefault();
    try {
      const key = fromPrintable(name);
      if (!key.length) throw new Error("A key has one byte at least.");
      const attached = { keep: null, none: "0" }[lease];
      let id = attached;
      if (attached === undefined) {
        try {
          id = parseId(leaseId);
        } catch {
          throw new Error("The lease is a hexadecimal number.");
        }
      }
      setReview({ key, value: edited(), lease: id });
      setError(null);
    } catch (failure) {
      setError(failure);
    }
  };
  const write = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    const key = kv?.key ?? review.key ?? first.key;
    try {
      const mod = kv?.mod ?? "0";
      const attached = review.lease === undefined ? (kv ? null : "0") : review.lease;
      const result = await put(key, review.value, mod, kv ? attached : (attached ?? "0"));
      if (result.done) {
        announce(`Put at revision ${formatInt(result.revision)}.`);
        onDone(key);
        onClose();
        return;
      }
      setConflict({ ...result, key });
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const restart = () => {
    const bytes = conflict.now?.value ?? new Uint8Array();
    setKv(conflict.now);
    setForm(formOf(bytes));
    setContent(contentOf(bytes, formOf(bytes)));
    setFile(bytes.length > EDITED ? bytes : null);
    setLease(conflict.now ? "keep" : "none");
    setReview(null);
    setConflict(null);
  };
  const insist = () => {
    setKv(conflict.now);
    setReview({ ...review, key: conflict.key });
    setConflict(null);
  };

  const title = first ? "Edit key" : "New key";
  if (conflict) {
    const { now } = conflict;
    return html`<${Dialog} wide title=${kv ? "It has changed meanwhile" : "The key exists"} onClose=${onClose}>
      <div class="body">
        <p class="note warn" role="alert">
          ${now
            ? kv
              ? `Nothing was written: the key is at mod revision ${formatInt(now.mod)} now, not ${formatInt(kv.mod)}.`
              : `Nothing was written: the key exists, at mod revision ${formatInt(now.mod)}.`
            : "Nothing was written: the key has been deleted meanwhile."}
        </p>
        ${now && html`<h3>Its value now</h3><${Value} bytes=${now.value} />`}
        <${ErrorNote} error=${error} />
        <footer>
          <button type="button" onClick=${onClose}>Cancel</button>
          <button type="button" onClick=${insist}>Compare my value with it</button>
          <button type="button" class="primary" data-focus onClick=${restart}>
            ${now ? "Edit this value" : "Make a new key"}
          </button>
        </footer>
      </div>
    <//>`;
  }
  if (review) {
    const key = kv?.key ?? review.key ?? first.key;
    return html`<${Dialog} key="review" wide title="Review" onClose=${onClose}>
      <form onSubmit=${write}>
        <p class="mono long">${short(key)}</p>
        <p>
          ${kv
            ? `From ${formatSize(kv.value.length)} to ${formatSize(review.value.length)}. ` +
              `Written only if the key is still at mod revision ${formatInt(kv.mod)}.`
            : `A new key of ${formatSize(review.value.length)}. Written only if it does not exist.`}
        </p>
        <${DiffView} before=${kv?.value ?? null} after=${review.value} />
        <${ErrorNote} error=${error} />
        <footer>
          <button type="button" onClick=${() => setReview(null)}>Back</button>
          <button class="primary" data-focus disabled=${busy}>${busy ? "Working …" : "Put"}</button>
        </footer>
      </form>
    <//>`;
  }
  return html`<${Dialog} key="edit" wide title=${title} onClose=${onClose}>
    <form onSubmit=${toReview}>
      ${kv
        ? html`<p class="mono long">${short(kv.key)} <${Copy} text=${printable(kv.key)} /></p>`
        : html`<${Field} label="Key" hint="\\xNN stands for a byte, \\\\ for a backslash.">
            <input
              data-focus
              class="mono"
              autocomplete="off"
              spellcheck=${false}
              value=${name}
              onInput=${(event) => setName(event.target.value)}
            />
          <//>`}
      <${Tabs} label="Enter it as" tabs=${FORMS} selected=${form} onSelect=${change} />
      ${form === "file"
        ? html`<${Field}
            label="Value"
            hint=${file ? `${formatSize(file.length)} chosen` : "At most 1.5 MB, unless the member allows more."}
          >
            <input
              type="file"
              onChange=${async (event) => {
                const [chosen] = event.target.files;
                if (chosen) setFile(new Uint8Array(await chosen.arrayBuffer()));
              }}
            />
          <//>`
        : html`<${Field} label="Value">
            <textarea
              data-focus=${kv ? true : undefined}
              spellcheck=${false}
              rows="14"
              value=${content}
              onInput=${(event) => setContent(event.target.value)}
            ></textarea>
          <//>`}
      <${Field} label="Lease">
        <select value=${lease} onChange=${(event) => setLease(event.target.value)}>
          ${kv && html`<option value="keep">${kv.lease === "0" ? "None, as now" : `Keep ${formatId(kv.lease)}`}</option>`}
          ${(!kv || kv.lease !== "0") && html`<option value="none">None</option>`}
          <option value="id">Attach to a lease</option>
        </select>
      <//>
      ${lease === "id" &&
      html`<${Field} label="Lease ID (hexadecimal)">
        <input class="mono" value=${leaseId} onInput=${(event) => setLeaseId(event.target.value)} />
      <//>`}
      <${ErrorNote} error=${error} />
      <footer>
        <button type="button" onClick=${onClose}>Cancel</button>
        <button class="primary">Review</button>
      </footer>
    </form>
  <//>`;
}
