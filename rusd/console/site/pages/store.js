// What the pages Keys and Time travel ask of the store. Keys and values are Uint8Array here and
// base64 on the wire; revisions stay strings, compared as BigInt.

import { call, data } from "../api.js";
import { fromBase64, prefixEnd, toBase64 } from "../text.js";

export const PAGE = 100;
/** Bytes of a key that fit into an address. */
const LONGEST = 80000;
const EVERYTHING = Uint8Array.of(0);

// The gRPC code of a read below the compact revision, and of one of the future.
const OUT_OF_RANGE = 11;
export const isCompacted = (error) =>
  error?.code === OUT_OF_RANGE && /compacted/.test(error.message);

/** A key in a query; in the alphabet whose letters all stand for themselves there. */
function queried(bytes) {
  if (bytes.length > LONGEST) throw new Error("This key is too long to be looked for: 80 kB at most.");
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_");
}

const at = (revision) => (revision ? { revision: String(revision) } : {});

// One page of a level of the tree: {revision, entries: [{name, key or null}], following or null}.
export async function level({ prefix, separator, start, revision }) {
  const answer = await data("level", {
    prefix: queried(prefix),
    separator: queried(separator),
    ...(start ? { start: queried(start) } : {}),
    ...at(revision),
    limit: PAGE,
  });
  return {
    revision: answer.revision,
    entries: answer.entries.map((entry) => ({ ...entry, name: fromBase64(entry.name) })),
    following: answer.following === null ? null : fromBase64(answer.following),
  };
}

// One page of the changes of a key, newest first:
// {revision, first_revision, versions: [{revision, deleted, create_revision, version, lease, size}],
//  more}. `last`: the newest revision of interest.
export async function versions(key, last) {
  return data("history", {
    key: queried(key), ...(last ? { last: String(last) } : {}), limit: PAGE,
  });
}

function interval(prefix) {
  if (!prefix.length) return { key: toBase64(EVERYTHING), range_end: toBase64(EVERYTHING) };
  return { key: toBase64(prefix), range_end: toBase64(prefixEnd(prefix)) };
}

function keyValue(kv) {
  return {
    key: fromBase64(kv.key),
    value: fromBase64(kv.value ?? ""),
    create: kv.create_revision ?? "0",
    mod: kv.mod_revision ?? "0",
    version: kv.version ?? "0",
    lease: kv.lease ?? "0",
  };
}

// {revision, kv: the key or null}.
export async function read(key, revision) {
  const answer = await call("kv/range", { key: toBase64(key), ...at(revision) });
  const found = answer.kvs?.[0];
  return { revision: answer.header.revision, kv: found ? keyValue(found) : null };
}

// One page of the keys with a prefix, without their values: {revision, count, kvs, following}.
// `start`: the first key of the page, null for the first page.
export async function search(prefix, start, revision) {
  const asked = interval(prefix);
  const key = start ? toBase64(start) : asked.key;
  const answer = await call("kv/range", {
    ...asked, key, limit: String(PAGE), keys_only: true, ...at(revision),
  });
  const kvs = (answer.kvs ?? []).map(keyValue);
  const last = kvs.at(-1)?.key;
  return {
    revision: answer.header.revision,
    count: answer.count ?? "0",
    kvs,
    following: answer.more && last ? Uint8Array.of(...last, 0) : null,
  };
}

export async function count(prefix) {
  const answer = await call("kv/range", { ...interval(prefix), count_only: true });
  return { revision: answer.header.revision, count: answer.count ?? "0" };
}

const unchanged = (key, mod) => ({
  key: toBase64(key), target: "MOD", result: "EQUAL", mod_revision: String(mod),
});

async function ifUnchanged(key, mod, operation) {
  const answer = await call("kv/txn", {
    compare: [unchanged(key, mod)],
    success: [operation],
    failure: [{ request_range: { key: toBase64(key) } }],
  });
  const found = answer.responses?.[0]?.response_range?.kvs?.[0];
  return {
    done: answer.succeeded === true,
    revision: answer.header.revision,
    now: !answer.succeeded && found ? keyValue(found) : null,
  };
}

// Put `value` if the key still has the mod revision `mod` ("0": does not exist). `lease`: null
// keeps the lease that the key has. Returns {done, revision, now: what is there instead}.
export function put(key, value, mod, lease) {
  const attached = lease === null ? { ignore_lease: true } : { lease };
  return ifUnchanged(key, mod, {
    request_put: { key: toBase64(key), value: toBase64(value), ...attached },
  });
}

export function remove(key, mod) {
  return ifUnchanged(key, mod, { request_delete_range: { key: toBase64(key) } });
}

// Delete all keys with a prefix unless one of them has changed after `revision`.
// Returns {done, deleted}.
export async function removePrefix(prefix, revision) {
  const range = interval(prefix);
  const answer = await call("kv/txn", {
    compare: [{
      ...range, target: "MOD", result: "LESS", mod_revision: String(BigInt(revision) + 1n),
    }],
    success: [{ request_delete_range: range }],
  });
  return {
    done: answer.succeeded === true,
    deleted: answer.responses?.[0]?.response_delete_range?.deleted ?? "0",
  };
}

// {ttl, granted} in seconds; null if the lease does not exist or may not be seen.
export async function lease(id) {
  try {
    const answer = await call("lease/timetolive", { ID: id });
    const ttl = answer.TTL ?? "0";
    return BigInt(ttl) < 0n ? null : { ttl, granted: answer.grantedTTL ?? "0" };
  } catch {
    return null;
  }
}

/**
 * {from, to} in Unix milliseconds: a revision was made after the one (null: not known) and not after
 * the other. Null if the member has no record of it.
 */
export async function timeOf(revision) {
  try {
    const { from, to } = await data("times", { revision });
    return to === null ? null : { from, to };
  } catch {
    return null;
  }
}
