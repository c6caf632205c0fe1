// The tab Watch: changes of keys as a running table.

import {
  Badge,
  DataTable,
  Field,
  html,
  useEffect,
  useRef,
  useState,
} from "../../parts.js";
import {
  formatId,
  formatInt,
  formatSize,
  formatTime,
  fromPrintable,
  prefixEnd,
  toBytes,
} from "../../text.js";
import { EventDialog } from "./event.js";
import { Feed, KEPT } from "./feed.js";

const STATES = {
  connecting: ["", "connecting"],
  open: ["good", "connected"],
  retrying: ["warn", "not connected"],
  compacted: ["warn", "compacted"],
  refused: ["bad", "refused"],
  stopped: ["", "stopped"],
};

const KINDS = { create: "good", update: "info", delete: "bad" };

const COLUMNS = [
  { key: "at", title: "Seen", cell: ({ at }) => formatTime(at).slice(11) },
  { key: "revision", title: "Revision", align: "right", cell: ({ revision }) => formatInt(revision) },
  { key: "kind", title: "Event", cell: ({ kind }) => html`<${Badge} kind=${KINDS[kind]} text=${kind} />` },
  { key: "name", title: "Key", cell: ({ name }) => html`<code class="live-key">${name}</code>` },
  { key: "preview", title: "Value", cell: ({ preview }) => html`<code class="live-value">${preview}</code>` },
  { key: "size", title: "Size", align: "right", cell: ({ size }) => (size === null ? "" : formatSize(size)) },
  {
    key: "lease",
    title: "Lease",
    cell: ({ lease }) => (lease === "0" ? "" : html`<code>${formatId(lease)}</code>`),
  },
];

/** What the address says to watch, or null: {key, match, from, only}, all strings. */
function wanted(params) {
  if (!params.has("key")) return null;
  const read = (name) => params.get(name) ?? "";
  return {
    key: read("key"),
    match: read("match") === "exact" ? "exact" : "prefix",
    from: /^\d+$/.test(read("from")) ? read("from") : "",
    only: read("only"),
  };
}

function open({ key, match, from, only }, onChange) {
  const bytes = fromPrintable(key);
  // All keys begin after the empty one, which no key can be.
  const first = bytes.length ? bytes : Uint8Array.of(0);
  const end = match === "exact" ? null : bytes.length ? prefixEnd(bytes) : Uint8Array.of(0);
  return new Feed({ key: first, end, from, only }, onChange);
}

/** A feed for what the address names, from the first drawing to the last. */
function useFeed(params) {
  const [, again] = useState(0);
  const [feed, setFeed] = useState(null);
  const start = (spec) => setFeed(spec && open(spec, () => again((count) => count + 1)));
  const address = params.toString();
  useEffect(() => start(wanted(params)), [address]);
  useEffect(() => () => feed?.stop(), [feed]);
  return { feed, start };
}

export function Watch({ params, go }) {
  const { feed, start } = useFeed(params);
  const [chosen, setChosen] = useState(null);
  const begin = (spec) => {
    const address = new URLSearchParams({ tab: "watch", ...spec }).toString();
    if (address === params.toString()) start(spec);
    else go(`#/live?${address}`);
  };
  return html`<${Form} params=${params} onStart=${begin} />
    ${feed
      ? html`<${Controls} feed=${feed} />
          <${State} feed=${feed} />
          <div class="live-events">
            <${DataTable}
              caption="Events, the newest first"
              columns=${COLUMNS}
              rows=${[...feed.events].reverse()}
              rowKey=${({ id }) => id}
              onRow=${setChosen}
              stack=${true}
              empty=${feed.text ? "No event contains this text." : "No event yet."}
            />
          </div>`
      : html`<p class="dim">
          Name a prefix and press Watch: each change of a key below it becomes a row here, as it
          happens. An empty prefix watches all keys.
        </p>`}
    ${chosen && html`<${EventDialog} event=${chosen} onClose=${() => setChosen(null)} />`}`;
}

function Form({ params, onStart }) {
  const [spec, setSpec] = useState(() => wanted(params) ?? { key: "", match: "prefix", from: "", only: "" });
  useEffect(() => {
    const named = wanted(params);
    if (named) setSpec(named);
  }, [params.toString()]);
  const change = (name) => (event) => setSpec({ ...spec, [name]: event.target.value });
  const onSubmit = (event) => {
    event.preventDefault();
    if (spec.match === "exact" && toBytes(spec.key).length === 0) return;
    onStart(spec);
  };
  return html`<form class="live-bar" aria-label="What to watch" onSubmit=${onSubmit}>
    <${Field} label="Keys">
      <select value=${spec.match} onChange=${change("match")}>
        <option value="prefix">with the prefix</option>
        <option value="exact">named exactly</option>
      </select>
    <//>
    <${Field} label=${spec.match === "exact" ? "Key" : "Prefix"}>
      <input
        class="mono"
        autocomplete="off"
        autocapitalize="off"
        spellcheck=${false}
        placeholder=${spec.match === "exact" ? "" : "all keys"}
        required=${spec.match === "exact"}
        value=${spec.key}
        onInput=${change("key")}
      />
    <//>
    <${Field} label="From revision">
      <input
        inputmode="numeric"
        pattern="[0-9]*"
        title="A number; nothing: from now on"
        placeholder="now"
        size="10"
        autocomplete="off"
        value=${spec.from}
        onInput=${change("from")}
      />
    <//>
    <${Field} label="Events">
      <select value=${spec.only} onChange=${change("only")}>
        <option value="">all</option>
        <option value="put">puts</option>
        <option value="delete">deletes</option>
      </select>
    <//>
    <button class="primary">Watch</button>
  </form>`;
}

function Controls({ feed }) {
  const running = ["connecting", "open", "retrying"].includes(feed.status);
  return html`<div class="live-bar">
    <button type="button" aria-pressed=${String(feed.paused)} onClick=${() => (feed.paused ? feed.resume() : feed.pause())}>
      ${feed.paused ? "Resume" : "Pause"}
    </button>
    <button type="button" disabled=${!running} onClick=${() => feed.stop()}>Stop</button>
    <button type="button" onClick=${() => feed.clear()}>Clear</button>
    <input
      type="search"
      aria-label="Text in key or value"
      placeholder="Text in key or value"
      title="Events without this text are counted and not kept."
      autocomplete="off"
      value=${feed.text}
      onInput=${(event) => feed.filter(event.target.value)}
    />
    <span class="live-count">
      <${Badge} kind=${STATES[feed.status][0]} text=${STATES[feed.status][1]} />
      <span class="dim"> ${count(feed)}</span>
    </span>
  </div>`;
}

function count(feed) {
  const parts = [`${formatInt(feed.total)} ${feed.total === 1 ? "event" : "events"}`];
  if (feed.total - feed.hidden > KEPT) parts.push(`the last ${KEPT} are kept`);
  if (feed.hidden) parts.push(`${formatInt(feed.hidden)} without the text`);
  if (feed.next !== null && feed.next > 0n) parts.push(`read up to revision ${formatInt(feed.next - 1n)}`);
  return parts.join(" · ");
}

/** What is to be known of the stream, in words; read out when it changes. */
function State({ feed }) {
  const note = (kind, text, more) =>
    html`<p class=${`note ${kind}`} role="status">${text}${more}</p>`;
  const held = feed.held.length + feed.missed;
  return html`${feed.status === "retrying" &&
  note("warn", `${feed.error.message} Trying again; ${resumption(feed)}`)}
  ${feed.status === "refused" && note("bad", feed.error.message)}
  ${feed.status === "stopped" && note("info", "Stopped. The rows stay; Watch starts again.")}
  ${feed.status === "compacted" &&
  note(
    "warn",
    `The events of revisions ${formatInt(feed.next)} to ${formatInt(feed.compacted - 1n)} are compacted: ` +
      "this table cannot show them. ",
    html`<button type="button" onClick=${() => feed.skipCompacted()}>
      Go on at revision ${formatInt(feed.compacted)}
    </button>`,
  )}
  ${feed.paused &&
  html`<p class="note info">
    Paused. ${formatInt(held)} ${held === 1 ? "event" : "events"} came meanwhile${feed.missed
      ? `; only the last ${KEPT} of them are kept`
      : ""}.
  </p>`}`;
}

function resumption(feed) {
  return feed.next === null
    ? "the watch begins when the member answers."
    : `the watch goes on at revision ${formatInt(feed.next)}, so that no event is lost.`;
}
