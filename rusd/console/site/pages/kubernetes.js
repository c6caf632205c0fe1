// Values of Kubernetes: objects as protobuf in its envelope, or as JSON (custom resources).
//
// The envelope is "k8s\0" and a message of type (1: apiVersion, kind) and object (2).

import { html, useMemo } from "../parts.js";
import { fieldsOf } from "./kubernetes_fields.js";
import { bytesOf, fields, mapOf, message, text, textOf, time } from "./protobuf.js";

const ENVELOPE = [0x6b, 0x38, 0x73, 0x00];
// Bytes of a value that are read.
const LONGEST = 2 << 20;
const MOST_LINES = 4000;

// Returns {encoding, apiVersion, kind, name, namespace, uid, created, labels, annotations, object};
// null if `bytes` are not an object of Kubernetes.
export function kubernetes(bytes) {
  if (bytes.length > LONGEST) return null;
  if (ENVELOPE.every((byte, at) => bytes[at] === byte)) return ofProtobuf(bytes.subarray(4));
  return bytes[0] === 0x7b ? ofJson(bytes) : null;
}

function ofProtobuf(bytes) {
  const unknown = fields(bytes);
  const type = unknown && fields(bytesOf(unknown, 1));
  const raw = unknown && bytesOf(unknown, 2);
  const object = raw && fields(raw);
  if (!type || !object) return null;
  const metadata = fields(bytesOf(object, 1)) ?? [];
  const created = bytesOf(metadata, 8);
  const kind = textOf(type, 2);
  return {
    encoding: "protobuf",
    apiVersion: textOf(type, 1),
    kind,
    name: textOf(metadata, 1),
    namespace: textOf(metadata, 3),
    uid: textOf(metadata, 5),
    created: created.length ? time(created) : "",
    labels: mapOf(metadata, 11),
    annotations: mapOf(metadata, 12),
    object: message(raw, fieldsOf(kind)),
  };
}

function ofJson(bytes) {
  let object;
  try {
    object = JSON.parse(text(bytes) ?? "");
  } catch {
    return null;
  }
  const { apiVersion, kind, metadata } = object ?? {};
  if (typeof apiVersion !== "string" || typeof kind !== "string") return null;
  if (metadata === null || typeof metadata !== "object") return null;
  const named = (name) => (typeof metadata[name] === "string" ? metadata[name] : "");
  const pairs = (map) => Object.entries(map ?? {}).map(([key, value]) => [key, String(value)]);
  return {
    encoding: "JSON",
    apiVersion,
    kind,
    name: named("name"),
    namespace: named("namespace"),
    uid: named("uid"),
    created: named("creationTimestamp"),
    labels: pairs(metadata.labels),
    annotations: pairs(metadata.annotations),
    object: kind === "Secret" ? { ...object, data: hidden(object.data) } : object,
  };
}

const hidden = (data) =>
  Object.fromEntries(Object.keys(data ?? {}).map((key) => [key, "(not shown here)"]));

/** `value` as indented lines, in the manner of YAML. */
export function outline(value) {
  const found = [];
  // `head`: what stands before the value on its first line; `indent`: of its other lines.
  const write = (one, head, indent) => {
    if (found.length > MOST_LINES) return;
    if (one === null || typeof one !== "object") {
      const rows = (one === "" ? '""' : String(one)).split("\n");
      if (rows.length === 1) found.push(head + rows[0]);
      else found.push(`${head}|`, ...rows.map((row) => indent + row));
      return;
    }
    const list = Array.isArray(one);
    const entries = Object.entries(one);
    if (!entries.length) {
      found.push(head + (list ? "[]" : "{}"));
      return;
    }
    // A list item shares its line with its first field; what has a name begins on the next line.
    const shares = /^ *(- )?$/.test(head);
    if (!shares) found.push(head.trimEnd());
    entries.forEach(([key, item], at) => {
      const before = shares && at === 0 ? head : indent;
      write(item, `${before}${list ? "- " : `${key}: `}`, `${indent}  `);
    });
  };
  write(value, "", "");
  if (found.length > MOST_LINES) found.splice(MOST_LINES, Infinity, "…");
  return found.join("\n");
}

/** The readable form of a value (`Value` of parts.js loads it). */
export default function Kubernetes({ bytes }) {
  const object = useMemo(() => kubernetes(bytes), [bytes]);
  if (!object) return html`<p class="note warn">These bytes cannot be read as an object of Kubernetes.</p>`;
  const row = (name, value, kind) => value && html`<div class=${kind}><dt>${name}</dt><dd>${value}</dd></div>`;
  const labels = object.labels.map(
    ([key, value]) => html`<li><code>${value === "" ? key : `${key}=${value}`}</code></li>`,
  );
  return html`<dl class="facts">
      ${row("Kind", object.kind)}
      ${row("API version", object.apiVersion)}
      ${row("Namespace", object.namespace)}
      ${row("Name", object.name)}
      ${row("Created", object.created)}
      ${row("Stored as", object.encoding)}
      ${row("Labels", labels.length > 0 && html`<ul class="pairs">${labels}</ul>`, "wide")}
    </dl>
    <pre tabindex="0" aria-label="Content of the object">${outline(object.object)}</pre>`;
}
