// All keys with a prefix in their order, a page at a time.

import { DataTable, ErrorNote, html, useEffect, useState } from "../parts.js";
import { formatId, formatInt, printable } from "../text.js";
import { PAGE, search } from "./store.js";
import { short } from "./tree.js";

/** `selected`: key or null; `onSelect({key})`. Mount anew for another prefix. */
export function KeyList({ prefix, revision, version, onSelect }) {
  // The first keys of the pages up to the one shown; null is the start of the prefix.
  const [starts, setStarts] = useState([null]);
  const [page, setPage] = useState(null);
  const [error, setError] = useState(null);
  const start = starts.at(-1);
  useEffect(() => {
    let stopped = false;
    setError(null);
    search(prefix, start, revision).then(
      (found) => !stopped && setPage({ ...found, start }),
      (failure) => !stopped && setError(failure),
    );
    return () => { stopped = true; };
  }, [start, revision, version]);
  if (error) return html`<${ErrorNote} error=${error} />`;
  if (!page) return html`<p class="loading">Loading …</p>`;
  const columns = [
    { key: "key", title: "Key", cell: (kv) => html`<span class="mono long">${short(kv.key)}</span>` },
    { key: "mod", title: "Modified", align: "right", cell: (kv) => formatInt(kv.mod) },
    { key: "version", title: "Version", align: "right", cell: (kv) => formatInt(kv.version) },
    { key: "lease", title: "Lease", align: "right", cell: (kv) => (kv.lease === "0" ? "" : formatId(kv.lease)) },
  ];
  const first = (starts.length - 1) * PAGE;
  // The count is of the keys from the page's first one on.
  const all = first + Number(page.count);
  const loading = page.start !== start;
  return html`<div class="key-list" aria-busy=${String(loading)}>
    <div class="pager">
      <span role="status">
        ${page.kvs.length
          ? `Keys ${formatInt(first + 1)} to ${formatInt(first + page.kvs.length)} of ${formatInt(all)}`
          : "No key begins with this prefix."}
      </span>
      <button type="button" disabled=${starts.length === 1 || loading} onClick=${() => setStarts(starts.slice(0, -1))}>
        Previous
      </button>
      <button
        type="button"
        disabled=${!page.following || loading}
        onClick=${() => setStarts([...starts, page.following])}
      >
        Next
      </button>
    </div>
    ${page.kvs.length > 0 &&
    html`<${DataTable}
      caption="Keys"
      columns=${columns}
      rows=${page.kvs}
      rowKey=${(kv) => printable(kv.key)}
      onRow=${(kv) => onSelect({ key: kv.key })}
    />`}
  </div>`;
}
