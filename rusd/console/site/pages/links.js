// Addresses of the pages Keys and Time travel. Keys stand in them as `printable` writes them.

import { fromPrintable, printable } from "../text.js";

export const SEPARATOR = "/";

/** {prefix, separator, key, revision, view} of the address; absent ones null. */
export function placeOf(params) {
  const bytes = (name) => (params.has(name) ? fromPrintable(params.get(name)) : null);
  const revision = params.get("revision");
  return {
    prefix: bytes("prefix"),
    separator: params.has("separator") ? params.get("separator") : SEPARATOR,
    key: bytes("key"),
    branch: bytes("branch"),
    revision: /^[0-9]{1,19}$/.test(revision ?? "") ? revision : null,
    view: params.get("view"),
  };
}

/** The hash of `page` at a place. */
export function hashOf(page, { prefix, separator, key, branch, revision, view }) {
  const params = new URLSearchParams();
  if (prefix?.length) params.set("prefix", printable(prefix));
  if (separator !== undefined && separator !== SEPARATOR) params.set("separator", separator);
  if (key) params.set("key", printable(key));
  if (branch) params.set("branch", printable(branch));
  if (revision) params.set("revision", revision);
  if (view) params.set("view", view);
  const query = params.toString();
  return `#/${page}${query && `?${query}`}`;
}
