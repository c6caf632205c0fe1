// One event of the watch, with the value it wrote or removed.

import { Dialog, ErrorNote, Value, html, usePolling } from "../../parts.js";
import { call } from "../../api.js";
import { hashOf } from "../links.js";
import { formatId, formatInt, formatSize, formatTime, fromBase64, toBase64 } from "../../text.js";

/** Once is enough: a revision does not change. */
const NEVER_MS = 2 ** 31 - 1;

export function EventDialog({ event, onClose }) {
  const { name, kind, at, revision, version, size, lease } = event;
  return html`<${Dialog} title=${`${kind} at revision ${formatInt(revision)}`} onClose=${onClose} wide>
    <div class="body">
      <dl class="live-facts">
        <dt>Key</dt>
        <dd><code>${name}</code></dd>
        <dt>Seen</dt>
        <dd>${formatTime(at)}</dd>
        ${kind !== "delete" &&
        html`<dt>Version</dt>
          <dd>${version}</dd>
          <dt>Size</dt>
          <dd>${formatSize(size)}</dd>`}
        ${lease !== "0" &&
        html`<dt>Lease</dt>
          <dd><code>${formatId(lease)}</code></dd>`}
      </dl>
      ${event.key &&
      html`<p>
        <a href=${hashOf("history", { key: event.key, revision })}>History of this key</a>
      </p>`}
      ${event.key ? html`<${At} event=${event} />` : html`<p class="dim">This key is too long to be opened here.</p>`}
    </div>
  <//>`;
}

/** The value that was written; of a deletion, the value that was removed. */
function At({ event }) {
  const deleted = event.kind === "delete";
  const revision = deleted ? BigInt(event.revision) - 1n : BigInt(event.revision);
  const read = () => call("kv/range", { key: toBase64(event.key), revision: String(revision) });
  const { value, error } = usePolling(read, NEVER_MS);
  if (error) return html`<${ErrorNote} error=${error} />`;
  if (!value) return html`<p class="loading">Loading …</p>`;
  const kv = value.kvs?.[0];
  if (!kv) {
    // A put and a delete of one transaction leave no revision between them.
    return html`<p class="dim">The key did not exist at revision ${formatInt(revision)}.</p>`;
  }
  return html`<h3>${deleted ? "Value before the deletion" : "Value"}</h3>
    <${Value} bytes=${fromBase64(kv.value)} key=${event.key} name=${event.name} />`;
}
