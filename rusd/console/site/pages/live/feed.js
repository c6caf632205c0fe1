// A watch that outlives its stream: events in a bounded buffer, pause, and resumption by revision.

import { stream } from "../../api.js";
import { formatInt, fromBase64, printable, toBase64 } from "../../text.js";

/** Events that are kept, and as many again while paused. */
export const KEPT = 500;

/** Bytes of a value that are kept for the table. */
const PREVIEW = 300;

/** Bytes of a key that are kept: a longer one is shown cut and cannot be opened. */
const KEY = 16 * 1024;

/**
 * Milliseconds between two calls of `onChange`: CHANGE_MS at least, and REST times what the last
 * drawing took, so that a flood of events on a slow machine leaves the page time for its user.
 */
const CHANGE_MS = 150;
const REST = 3;
const LONGEST_MS = 10_000;

/** Milliseconds until a stream is opened again, after the first, second and every later failure. */
const RETRY_MS = [500, 1000, 2000];

// gRPC codes that another attempt would meet again: invalid argument, permission, unimplemented,
// authentication.
const LASTING = new Set([3, 7, 12, 16]);

const FILTERS = { put: ["NODELETE"], delete: ["NOPUT"] };

let ids = 0;

/**
 * Reads changes of the keys from `key` to `end` (bytes; `end` null: one key) from revision `from` (a
 * decimal string; "": from now on). `only`: "put", "delete" or "". Its properties are the state that
 * a page shows; `onChange` is called after they change, some times a second at most.
 *
 * status: "connecting", "open", "retrying" (the stream ended: it is resumed after the last revision
 * seen), "compacted" (events since were compacted: `compacted` is the first revision left),
 * "refused" (see `error`) or "stopped".
 */
export class Feed {
  constructor({ key, end, from, only }, onChange) {
    this.status = "connecting";
    this.error = null;
    this.compacted = null;
    /** Oldest first. */
    this.events = [];
    this.total = 0;
    this.paused = false;
    /** Events that came during the pause, and how many of them no longer fitted. */
    this.held = [];
    this.missed = 0;
    this.text = "";
    /** Events that did not contain `text`. */
    this.hidden = 0;
    /** The next revision to read, or null before the first answer. */
    this.next = from ? BigInt(from) : null;
    this._range = { key: toBase64(key), ...(end && { range_end: toBase64(end) }) };
    this._filters = FILTERS[only];
    this._onChange = onChange;
    this._timer = 0;
    this._drawing = 0;
    this._end = new AbortController();
    this._failures = 0;
    this._run();
  }

  stop() {
    this._end.abort();
    if (["connecting", "open", "retrying"].includes(this.status)) this.status = "stopped";
    this._changed();
  }

  pause() {
    this.paused = true;
    this._changed();
  }

  /** Shows what came during the pause. */
  resume() {
    this.paused = false;
    this.events = [...this.events, ...this.held].slice(-KEPT);
    this.held = [];
    this.missed = 0;
    this._changed();
  }

  clear() {
    this.events = [];
    this.held = [];
    this.missed = this.hidden = 0;
    this._changed();
  }

  /** Keeps events whose key or beginning of the value contains `text`; forgets the others. */
  filter(text) {
    this.text = text.toLowerCase();
    this.events = this.events.filter((event) => this._matches(event));
    this.held = this.held.filter((event) => this._matches(event));
    this.hidden = 0;
    this._changed();
  }

  /** Goes on with the first revision that is not compacted. */
  skipCompacted() {
    this.next = this.compacted;
    this.compacted = null;
    this._run();
  }

  async _run() {
    const { signal } = this._end;
    while (!signal.aborted) {
      this._become("connecting");
      try {
        await stream("watch", this._request(), (message) => this._receive(message), signal);
        this.error = new Error("The member ended the stream.");
      } catch (error) {
        this.error = error;
        if (LASTING.has(error.code)) this._become("refused");
      }
      if (signal.aborted || this.status === "compacted" || this.status === "refused") return;
      this._become("retrying");
      const wait = RETRY_MS[Math.min(this._failures++, RETRY_MS.length - 1)];
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  _request() {
    const start = this.next === null ? {} : { start_revision: String(this.next) };
    const filters = this._filters && { filters: this._filters };
    return { create_request: { ...this._range, ...start, ...filters, progress_notify: true } };
  }

  _receive(message) {
    const revision = BigInt(message.header?.revision ?? 0);
    if (message.canceled) {
      if (message.compact_revision) {
        this.compacted = BigInt(message.compact_revision);
        this._become("compacted");
      } else {
        this.error = new Error(message.cancel_reason || "The member refused the watch.");
        this._become("refused");
      }
      return;
    }
    if (message.created) {
      this._failures = 0;
      this.error = null;
      this.next ??= revision + 1n;
      this._become("open");
    }
    // The revision of a header may be ahead of events that are still to come; without events, and
    // after the creation, it is a promise that none is missing.
    if (!message.created && !message.events) this._advance(revision);
    for (const event of message.events ?? []) {
      this._advance(BigInt(event.kv.mod_revision));
      this._take(event);
    }
    this._changed();
  }

  _advance(revision) {
    if (this.next === null || revision >= this.next) this.next = revision + 1n;
  }

  _take({ type, kv }) {
    this.total++;
    const event = readEvent(type, kv);
    if (!this._matches(event)) this.hidden++;
    else if (!this.paused) add(this.events, event);
    else this.missed += add(this.held, event);
  }

  _matches(event) {
    return !this.text || event.search.includes(this.text);
  }

  _become(status) {
    this.status = status;
    this._changed();
  }

  _changed() {
    const wait = Math.min(LONGEST_MS, Math.max(CHANGE_MS, REST * this._drawing));
    this._timer ||= setTimeout(() => {
      this._timer = 0;
      const began = performance.now();
      this._onChange();
      // (The frame is drawn after this callback: the next task begins when it is.)
      requestAnimationFrame(() =>
        setTimeout(() => {
          this._drawing = performance.now() - began;
        }),
      );
    }, wait);
  }
}

/** Appends an event; returns how many old ones made room for it. */
function add(events, event) {
  events.push(event);
  if (events.length <= KEPT) return 0;
  events.shift();
  return 1;
}

/** What a table needs of an event; the value itself is not kept. */
function readEvent(type, kv) {
  const deleted = type === "DELETE";
  const key = fromBase64(kv.key);
  const value = kv.value ?? "";
  const size = (value.length / 4) * 3 - (value.endsWith("==") ? 2 : value.endsWith("=") ? 1 : 0);
  const preview = printable(fromBase64(value.slice(0, (PREVIEW / 3) * 4)));
  const name = printable(key.subarray(0, PREVIEW)) + (key.length > PREVIEW ? " …" : "");
  return {
    id: ++ids,
    at: Date.now(),
    kind: deleted ? "delete" : kv.version === "1" ? "create" : "update",
    key: key.length <= KEY ? key : null,
    name,
    preview: preview + (size > PREVIEW ? " …" : ""),
    search: `${name}\n${preview}`.toLowerCase(),
    size: deleted ? null : size,
    revision: kv.mod_revision,
    version: formatInt(kv.version),
    lease: kv.lease ?? "0",
  };
}
