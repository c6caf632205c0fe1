// The tab Leases: how long each has left, and its keys on demand.

import { DataTable, Dialog, ErrorNote, html, useMemo, usePolling, useState } from "../../parts.js";
import { call } from "../../api.js";
import { formatDuration, formatId, formatInt, formatTime, fromBase64, printable } from "../../text.js";
import { Pager } from "./pager.js";
import { Remaining, askLease, each } from "./lease_parts.js";

/** Leases of one page: each is asked for by itself. */
const PAGE = 25;

/** Milliseconds between two lists, and between two questions for the leases of the page. */
const POLL_MS = 3000;

/** A longer list is read again by the button only. */
const LONG = 10_000;

/** A lease with more keys is asked for them once. */
const MANY_KEYS = 1000;

/** Keys in a cell of the table, and on a page of the dialog. */
const CELL_KEYS = 3;
const DIALOG_KEYS = 100;

/** Ids in their order, and when they were read. (As numbers: 100,000 are sorted in a tenth of the time.) */
async function listLeases() {
  const { leases = [] } = await call("lease/leases");
  const ids = BigInt64Array.from(leases, ({ ID }) => BigInt(ID)).sort();
  return { ids: Array.from(ids, String), at: Date.now() };
}

export function Leases() {
  const [long, setLong] = useState(false);
  const list = usePolling(
    async () => {
      const found = await listLeases();
      setLong(found.ids.length > LONG);
      return found;
    },
    long ? 2 ** 31 - 1 : POLL_MS,
  );
  const [text, setText] = useState("");
  const [page, setPage] = useState(0);
  const [withKeys, setWithKeys] = useState(false);
  const [opened, setOpened] = useState(null);
  const ids = useMemo(() => {
    const part = text.trim().toLowerCase().replace(/^0x/, "");
    return (list.value?.ids ?? []).filter((id) => !part || formatId(id).includes(part));
  }, [list.value, text]);
  const last = Math.max(0, Math.ceil(ids.length / PAGE) - 1);
  const shown = ids.slice(Math.min(page, last) * PAGE, (Math.min(page, last) + 1) * PAGE);
  const details = useDetails(shown, withKeys);
  if (!list.value) return list.error ? html`<${ErrorNote} error=${list.error} />` : html`<p class="loading">Loading …</p>`;
  const total = list.value.ids.length;
  return html`<${ErrorNote} error=${list.error} />
    <div class="live-bar">
      <input
        type="search"
        class="mono"
        aria-label="Part of a lease's id"
        placeholder="Part of an id"
        autocomplete="off"
        spellcheck=${false}
        value=${text}
        onInput=${(event) => {
          setText(event.target.value);
          setPage(0);
        }}
      />
      <label class="check">
        <input type="checkbox" checked=${withKeys} onChange=${(event) => setWithKeys(event.target.checked)} />
        Show keys
      </label>
      ${long && html`<button type="button" onClick=${list.refresh}>Read the list again</button>`}
      <span class="dim live-count">
        ${formatInt(total)} ${total === 1 ? "lease" : "leases"}${ids.length !== total
          ? `, ${formatInt(ids.length)} with this text`
          : ""}${long ? `, as of ${formatTime(list.value.at).slice(11)}` : ""}
      </span>
    </div>
    <${DataTable}
      caption="Leases"
      columns=${columns(details, withKeys, setOpened)}
      rows=${shown.map((id) => ({ id }))}
      rowKey=${({ id }) => id}
      stack=${true}
      empty=${total ? "No lease has this text in its id." : "There are no leases."}
    />
    <${Pager} page=${Math.min(page, last)} last=${last} onPage=${setPage} />
    ${opened && html`<${KeysDialog} id=${opened} onClose=${() => setOpened(null)} />`}`;
}

/** What is known of the leases on the page, by id. */
function useDetails(shown, withKeys) {
  const [known] = useState(() => new Map());
  const many = (id) => known.get(id)?.keys?.length > MANY_KEYS;
  usePolling(
    async () => {
      const answers = await each(shown, async (id) => {
        const kept = many(id) ? { keys: known.get(id).keys } : {};
        return { ...(await askLease(id, withKeys && !many(id))), ...kept };
      });
      if (known.size > 4 * PAGE) known.clear();
      shown.forEach((id, index) => known.set(id, answers[index]));
      return answers;
    },
    POLL_MS,
    `${withKeys} ${shown[0]} ${shown.length}`,
  );
  return known;
}

function columns(details, withKeys, onOpen) {
  const granted = (lease) => (lease?.granted > 0 ? formatDuration(lease.granted) : "");
  return [
    { key: "id", title: "Lease", cell: ({ id }) => html`<code title=${`decimal ${id}`}>${formatId(id)}</code>` },
    { key: "left", title: "Left", cell: ({ id }) => html`<${Remaining} lease=${details.get(id)} />` },
    { key: "granted", title: "Granted", align: "right", cell: ({ id }) => granted(details.get(id)) },
    {
      key: "keys",
      title: "Keys",
      cell: ({ id }) =>
        withKeys
          ? html`<${Keys} lease=${details.get(id)} onOpen=${() => onOpen(id)} />`
          : html`<button type="button" class="quiet" aria-label=${`Keys of lease ${formatId(id)}`} onClick=${() => onOpen(id)}>
              Keys …
            </button>`,
    },
  ];
}

const KeyName = ({ base64 }) => html`<code class="live-key">${printable(fromBase64(base64))}</code>`;

function Keys({ lease, onOpen }) {
  if (!lease?.keys) return lease?.error ? html`<span class="dim">${lease.error.message}</span>` : "…";
  if (lease.keys.length === 0) return html`<span class="dim">none</span>`;
  const more = lease.keys.length - CELL_KEYS;
  return html`<div class="live-keys">
    ${lease.keys.slice(0, CELL_KEYS).map((key) => html`<${KeyName} key=${key} base64=${key} />`)}
    ${more > 0 &&
    html`<button type="button" class="quiet" onClick=${onOpen}>and ${formatInt(more)} more</button>`}
  </div>`;
}

function KeysDialog({ id, onClose }) {
  const [page, setPage] = useState(0);
  const { value: lease, error, refresh } = usePolling(() => askLease(id, true), 2 ** 31 - 1);
  const keys = lease?.keys ?? [];
  const last = Math.max(0, Math.ceil(keys.length / DIALOG_KEYS) - 1);
  return html`<${Dialog} title=${`Lease ${formatId(id)}`} onClose=${onClose}>
    <div class="body">
      <${ErrorNote} error=${error} />
      ${lease &&
      html`<p>
          <${Remaining} lease=${lease} />
          ${lease.ttl >= 0 && html`<span class="dim">of ${formatDuration(lease.granted)}</span>`}
        </p>
        <h3>${formatInt(keys.length)} ${keys.length === 1 ? "key" : "keys"}</h3>
        <ul class="live-list">
          ${keys
            .slice(page * DIALOG_KEYS, (page + 1) * DIALOG_KEYS)
            .map((key) => html`<li key=${key}><${KeyName} base64=${key} /></li>`)}
        </ul>
        <${Pager} page=${page} last=${last} onPage=${setPage} />`}
      <footer><button type="button" onClick=${refresh}>Read again</button></footer>
    </div>
  <//>`;
}
