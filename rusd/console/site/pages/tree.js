// The tree of keys: a level is read when it is opened, a page at a time.

import { ErrorNote, html, useCallback, useEffect, useMemo, useRef, useState } from "../parts.js";
import { compareBytes, formatSize, printable, toBytes } from "../text.js";
import { level } from "./store.js";

/** gRPC's code. */
const PERMISSION_DENIED = 7;
/** Entries of one level that are shown at most; a longer prefix shows the others. */
const MOST = 1000;
/** A branch that is the only entry of its level is opened with it, so many levels deep. */
const CHAIN = 6;
/** Branches above the chosen key that are opened with the page. */
const REVEALED = 12;
/** Characters of a name that are shown. */
const CHARACTERS = 200;

/** A key as one line of bounded length. */
export function short(bytes) {
  const line = printable(bytes.subarray(0, 4 * CHARACTERS));
  if (bytes.length <= 4 * CHARACTERS && line.length <= CHARACTERS) return line;
  return `${line.slice(0, CHARACTERS)}… (${formatSize(bytes.length)})`;
}

const CLOSED = { entries: [], following: null, error: null, loading: false, open: false };

/** The branches between `prefix` and the key `selected`, from above; the first few. */
function branches(prefix, separator, selected) {
  const found = [];
  if (!selected || !separator.length) return found;
  for (let at = prefix.length; at <= selected.length - separator.length; at++) {
    if (!separator.every((byte, offset) => selected[at + offset] === byte)) continue;
    at += separator.length - 1;
    // (A branch that is chosen itself may be closed.)
    if (found.length === REVEALED || at + 1 === selected.length) break;
    found.push(selected.subarray(0, at + 1));
  }
  return found;
}

/** The levels that were opened, by the text of their prefix. */
function useLevels({ prefix, separator, revision, version, selected }) {
  const [levels, setLevels] = useState(() => new Map());
  const latest = useRef(levels);
  // Answers to questions of an earlier revision or of a tree that is gone are dropped.
  const generation = useRef(0);

  const change = useCallback((of, changes) => {
    const id = printable(of);
    const next = new Map(latest.current);
    next.set(id, { ...CLOSED, ...next.get(id), of, ...changes });
    latest.current = next;
    setLevels(next);
  }, []);

  // Read as many entries of a level as it has, or a page more.
  const load = useCallback(
    async (of, { more = false, chain = 0 } = {}) => {
      const mine = generation.current;
      const before = latest.current.get(printable(of)) ?? CLOSED;
      change(of, { loading: true, open: true, error: null });
      try {
        let entries = more ? before.entries : [];
        let start = more ? before.following : null;
        const wanted = more ? entries.length + 1 : before.entries.length;
        do {
          const page = await level({ prefix: of, separator: toBytes(separator), start, revision });
          if (generation.current !== mine) return;
          entries = [...entries, ...page.entries];
          start = page.following;
        } while (start && entries.length < wanted);
        change(of, { entries, following: start, loading: false });
        if (chain && entries.length === 1 && !start && !entries[0].key) {
          await load(entries[0].name, { chain: chain - 1 });
        }
      } catch (error) {
        if (generation.current === mine) change(of, { error, loading: false });
      }
    },
    [separator, revision],
  );

  useEffect(() => {
    generation.current += 1;
    const open = [...latest.current.values()].filter((one) => one.open);
    if (open.length) for (const one of open) load(one.of);
    else load(prefix, { chain: CHAIN });
  }, [load, version]);
  useEffect(() => {
    for (const one of branches(prefix, toBytes(separator), selected)) {
      if (!latest.current.get(printable(one))?.open) load(one);
    }
  }, [selected && printable(selected)]);
  useEffect(() => () => { generation.current += 1; }, []);

  return { levels, load, close: (of) => change(of, { open: false }) };
}

/** The visible rows of the tree, from top to bottom. */
function rowsOf(levels, of, depth = 1) {
  const one = levels.get(printable(of));
  if (!one) return [];
  const rows = [];
  for (const { name, key } of one.entries) {
    const id = printable(name);
    const label = short(name.subarray(of.length)) || "(this very key)";
    const open = !key && levels.get(id)?.open === true;
    rows.push({ kind: key ? "key" : "branch", id: `${key ? "=" : ">"}${id}`, name, key, label, depth, open });
    if (open) rows.push(...rowsOf(levels, name, depth + 1));
  }
  const about = { of, depth, id: `+${printable(of)}` };
  if (one.error) rows.push({ ...about, kind: "error", error: one.error });
  else if (one.loading && !one.entries.length) rows.push({ ...about, kind: "note", label: "Loading …" });
  else if (!one.entries.length) rows.push({ ...about, kind: "note", label: "No keys" });
  else if (one.following && one.entries.length >= MOST) {
    rows.push({ ...about, kind: "note", label: `The first ${MOST}. A longer prefix shows the others.` });
  } else if (one.following) rows.push({ ...about, kind: "more", label: one.loading ? "Loading …" : "Show more" });
  return rows;
}

/**
 * A tree of the keys below `prefix`, divided at `separator` (text), at `revision` (null: now).
 * `version` changes when the store may have: the open levels are read again. `onSelect({key})` or
 * `onSelect({branch})`.
 */
export function Tree(props) {
  const { prefix, selected, onSelect } = props;
  const { levels, load, close } = useLevels(props);
  const rows = useMemo(() => rowsOf(levels, prefix), [levels]);
  const [focused, setFocused] = useState(null);
  const tree = useRef(null);
  const reachable = rows.filter(({ kind }) => kind !== "note" && kind !== "error");
  const current = reachable.some(({ id }) => id === focused) ? focused : reachable[0]?.id;

  const toggle = (row) => (row.open ? close(row.name) : load(row.name, { chain: CHAIN }));
  const choose = (row) => {
    setFocused(row.id);
    if (row.kind === "more") load(row.of, { more: true });
    else if (row.kind === "key") onSelect({ key: row.name });
    else {
      toggle(row);
      onSelect({ branch: row.name });
    }
  };
  const focus = (row) => {
    if (!row) return;
    setFocused(row.id);
    const at = rows.indexOf(row);
    tree.current.querySelector(`[data-at="${at}"]`)?.focus();
  };
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const at = reachable.findIndex(({ id }) => id === current);
    const row = reachable[at];
    if (!row) return;
    const parent = () => reachable.slice(0, at).findLast(({ depth }) => depth < row.depth);
    const acts = {
      ArrowDown: () => focus(reachable[at + 1]),
      ArrowUp: () => focus(reachable[at - 1]),
      Home: () => focus(reachable[0]),
      End: () => focus(reachable.at(-1)),
      ArrowRight: () => {
        if (row.kind !== "branch") return;
        if (!row.open) toggle(row);
        else if (reachable[at + 1]?.depth > row.depth) focus(reachable[at + 1]);
      },
      ArrowLeft: () => (row.open ? close(row.name) : focus(parent())),
      Enter: () => choose(row),
      " ": () => choose(row),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  };

  const isSelected = (row) =>
    selected && (row.kind === "key" || row.kind === "branch") && compareBytes(row.name, selected) === 0;
  const indent = (row) => ({ paddingInlineStart: `${0.5 + 1.1 * (row.depth - 1)}rem` });
  return html`<div class="tree" role="tree" aria-label="Keys" ref=${tree} onKeyDown=${onKeyDown}>
    ${rows.map((row, at) => {
      if (row.kind === "note") {
        return html`<div key=${row.id} class="row dim" style=${indent(row)}>${row.label}</div>`;
      }
      if (row.kind === "error") {
        return html`<div key=${row.id}>
          <${ErrorNote} error=${row.error} />
          ${row.error.code === PERMISSION_DENIED &&
          html`<p class="note info">Enter a prefix that your roles may read.</p>`}
        </div>`;
      }
      return html`<div
        key=${row.id}
        class=${`row ${row.kind}`}
        role="treeitem"
        aria-level=${row.depth}
        aria-expanded=${row.kind === "branch" ? String(row.open) : undefined}
        aria-selected=${String(Boolean(isSelected(row)))}
        tabindex=${row.id === current ? 0 : -1}
        data-at=${at}
        style=${indent(row)}
        onClick=${() => choose(row)}
      >
        <span class="twist" aria-hidden="true">${row.kind === "branch" ? (row.open ? "▾" : "▸") : ""}</span>
        <span class="name">${row.label}</span>
        ${row.key && html`<span class="dim size">${formatSize(row.key.size)}</span>`}
      </div>`;
    })}
  </div>`;
}
