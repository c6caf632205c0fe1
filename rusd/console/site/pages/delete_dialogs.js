// Deletion of one key, and of all keys with a prefix.

import { announce, Confirm, Dialog, ErrorNote, html, useEffect, useState, Value } from "../parts.js";
import { formatInt } from "../text.js";
import { count, remove, removePrefix } from "./store.js";
import { short } from "./tree.js";

/** Deletes `kv` if it still has the mod revision that was shown. `onDone` after the deletion. */
export function DeleteDialog({ kv: first, onDone, onClose }) {
  const [kv, setKv] = useState(first);
  const [conflict, setConflict] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const act = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const result = await remove(kv.key, kv.mod);
      if (result.done) {
        announce(`Deleted at revision ${formatInt(result.revision)}.`);
        onDone();
        onClose();
        return;
      }
      setConflict({ now: result.now, seen: kv.mod });
      if (result.now) setKv(result.now);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const gone = conflict && !conflict.now;
  return html`<${Dialog} wide=${Boolean(conflict)} title="Delete key" onClose=${onClose}>
    <form onSubmit=${act}>
      <p class="mono long">${short(kv.key)}</p>
      ${gone && html`<p class="note warn" role="alert">The key has been deleted meanwhile.</p>`}
      ${conflict?.now &&
      html`<p class="note warn" role="alert">
          Nothing was deleted: the key has changed meanwhile. It is at mod revision${" "}
          ${formatInt(conflict.now.mod)} now, not ${formatInt(conflict.seen)}.
        </p>
        <h3>Its value now</h3>
        <${Value} bytes=${conflict.now.value} />`}
      ${!gone && html`<p>Deleted only if it is still at mod revision ${formatInt(kv.mod)}.</p>`}
      <${ErrorNote} error=${error} />
      <footer>
        <button type="button" data-focus onClick=${gone ? () => { onDone(); onClose(); } : onClose}>
          ${gone ? "Close" : "Cancel"}
        </button>
        ${!gone && html`<button class="danger" disabled=${busy}>
          ${busy ? "Working …" : conflict ? "Delete this version" : "Delete"}
        </button>`}
      </footer>
    </form>
  <//>`;
}

/** Deletes all keys with a prefix, after their number was shown and typed. */
export function DeletePrefixDialog({ prefix, onDone, onClose }) {
  const [counted, setCounted] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    let stopped = false;
    count(prefix).then(
      (found) => !stopped && setCounted(found),
      (failure) => !stopped && setError(failure),
    );
    return () => { stopped = true; };
  }, []);
  if (!counted) {
    return html`<${Dialog} title="Delete keys" onClose=${onClose}>
      <div class="body">
        ${error ? html`<${ErrorNote} error=${error} />` : html`<p class="loading">Counting …</p>`}
      </div>
    <//>`;
  }
  const act = async () => {
    const result = await removePrefix(prefix, counted.revision);
    if (!result.done) {
      setCounted(await count(prefix));
      throw new Error("Nothing was deleted: keys with this prefix have changed meanwhile. They were counted anew.");
    }
    announce(`Deleted ${formatInt(result.deleted)} keys.`);
    onDone();
  };
  const all = !prefix.length;
  const text = html`<p class="mono long">${all ? "(all keys of the store)" : short(prefix)}</p>
    <p>
      ${formatInt(counted.count)} ${counted.count === "1" ? "key begins" : "keys begin"} with this prefix.
      Deleted only if none of them changes after revision ${formatInt(counted.revision)}.
    </p>`;
  return html`<${Confirm}
    title="Delete keys"
    text=${text}
    action=${`Delete ${formatInt(counted.count)} keys`}
    danger
    word=${counted.count}
    onConfirm=${act}
    onClose=${onClose}
  />`;
}
