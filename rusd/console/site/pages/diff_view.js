// The difference between two values: of their most readable form that both have.

import { html, useMemo } from "../parts.js";
import { compareBytes, formatInt, formatSize, hexDump, toText } from "../text.js";
import { hunks } from "./diff.js";
import { kubernetes, outline } from "./kubernetes.js";
import { prettyJson } from "./pretty.js";

/** Lines of a difference, and characters of a line, that are shown. */
const MOST_SHOWN = 2000;
const CHARACTERS = 2000;
/** Bytes of a value that is no text, compared line by line of its hexadecimal form. */
const HEX_BYTES = 64 * 1024;

function object(bytes) {
  const read = kubernetes(bytes);
  return read && read.encoding === "protobuf" ? outline(read.object) : null;
}

const json = (bytes) => {
  const text = toText(bytes);
  return text === null ? null : prettyJson(text);
};

const FORMS = [["Kubernetes", object], ["JSON", json], ["text", toText]];

const equal = (one, other) =>
  one === other || (one && other && compareBytes(one, other) === 0) || (!one?.length && !other?.length);

/** {form, before, after}: both values as lines. A value that does not exist is empty. */
export function comparable(before, after) {
  for (const [form, read] of FORMS) {
    const both = [before, after].map((bytes) => (bytes?.length ? read(bytes) : ""));
    // (A form that hides the difference, such as white space in JSON, is no form to compare.)
    if (both.includes(null) || (both[0] === both[1] && !equal(before, after))) continue;
    return { form, before: both[0], after: both[1] };
  }
  const dump = (bytes) => hexDump((bytes ?? new Uint8Array()).subarray(0, HEX_BYTES));
  const cut = Math.max(before?.length ?? 0, after?.length ?? 0) > HEX_BYTES;
  const form = cut ? `the first ${formatSize(HEX_BYTES)} in hexadecimal` : "hexadecimal";
  return { form, before: dump(before), after: dump(after) };
}

const NAMES = { "+": "added", "-": "removed", " ": "same" };

/** `before` and `after`: bytes, or null for a key that does not exist. */
export function DiffView({ before, after }) {
  const { form, parts } = useMemo(() => {
    const both = comparable(before, after);
    return { form: both.form, parts: hunks(both.before, both.after) };
  }, [before, after]);
  const count = (kind) => parts.filter((part) => part.kind === kind).length;
  const removed = count("-");
  const added = count("+");
  if (!removed && !added) {
    return html`<p class="dim">${equal(before, after)
      ? "The values are equal."
      : `The values differ, but not in ${form}.`}</p>`;
  }
  const shown = parts.slice(0, MOST_SHOWN);
  return html`<div class="diff">
    <p class="dim small">
      ${formatInt(added)} ${added === 1 ? "line" : "lines"} added, ${formatInt(removed)} removed,
      compared as ${form}
    </p>
    <pre tabindex="0" aria-label="Difference">${shown.map((part) =>
      part.skipped
        ? html`<span class="skipped">⋯ ${formatInt(part.skipped)} equal ${part.skipped === 1 ? "line" : "lines"}${"\n"}</span>`
        : html`<span class=${NAMES[part.kind]}>${part.kind} ${cutLine(part.text)}${"\n"}</span>`,
    )}</pre>
    ${parts.length > shown.length &&
    html`<p class="note warn">The first ${formatInt(MOST_SHOWN)} lines of ${formatInt(parts.length)} are shown.</p>`}
  </div>`;
}

const cutLine = (text) =>
  text.length > CHARACTERS ? `${text.slice(0, CHARACTERS)}… (${formatInt(text.length)} characters)` : text;
