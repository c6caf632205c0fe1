// Locks and elections, as they are found among the keys.

import { call } from "../../api.js";
import { compareBytes, formatId, fromBase64, prefixEnd, printable, toBase64 } from "../../text.js";

/** Keys of one answer. */
const STEP = 1000;

const SLASH = 0x2f;

/** Parts of a key that can end the name of a queue, from its end on. */
const DEEP = 16;

/** Keys looked at beyond the budget, so that the members of the last queue are known. */
const BEYOND = 20_000;

/**
 * Looks at up to `budget` keys with a prefix, without their values, and at those that follow as long
 * as they are of a queue: the oldest, which holds the lock, may be the last of them. Returns {queues,
 * looked, more}: queues are {name, members: [{key, base64, lease, created}], cut}, by name. Members are
 * in the order in which they get the lock: by create revision. `cut`: there are more, not looked at.
 *
 * A key is taken for a member if its last part is the id of its own lease in hexadecimal: clients of
 * etcd name keys so for locks and elections.
 */
export async function findQueues(prefix, budget) {
  const found = new Map();
  const end = toBase64(prefix.length ? prefixEnd(prefix) : Uint8Array.of(0));
  let key = toBase64(prefix.length ? prefix : Uint8Array.of(0));
  let [looked, more, open] = [0, true, []];
  while (more && (looked < budget || (open.length > 0 && looked < budget + BEYOND))) {
    const answer = await call("kv/range", { key, range_end: end, limit: String(STEP), keys_only: true });
    const { kvs = [] } = answer;
    for (const kv of kvs) {
      const member = readMember(kv);
      if (!member) continue;
      if (!found.has(member.name)) found.set(member.name, []);
      found.get(member.name).push(member);
    }
    looked += kvs.length;
    more = Boolean(answer.more) && kvs.length > 0;
    if (!more) break;
    const last = kvs.at(-1).key;
    key = after(last);
    open = namesAbove(fromBase64(last)).filter((name) => found.has(name));
  }
  const queues = Array.from(found, ([name, members]) => ({
    name,
    members: members.sort(byCreation),
    cut: more && open.includes(name),
  }));
  queues.sort((a, b) => compareBytes(a.members[0].key, b.members[0].key));
  return { queues, looked, more };
}

/** The names of the queues in which a key, or one that follows it, can be: up to each slash. */
function namesAbove(key) {
  const names = [];
  for (let slash = key.lastIndexOf(SLASH); slash >= 0 && names.length < DEEP; ) {
    names.push(printable(key.subarray(0, slash)));
    slash = slash > 0 ? key.lastIndexOf(SLASH, slash - 1) : -1;
  }
  return names;
}

function readMember(kv) {
  if (!kv.lease || kv.lease === "0") return null;
  const key = fromBase64(kv.key);
  const slash = key.lastIndexOf(SLASH);
  if (slash < 0) return null;
  if (String.fromCharCode(...key.subarray(slash + 1, slash + 18)) !== formatId(kv.lease)) return null;
  return {
    name: printable(key.subarray(0, slash)),
    key,
    base64: kv.key,
    lease: kv.lease,
    created: BigInt(kv.create_revision),
  };
}

const byCreation = (a, b) => (a.created < b.created ? -1 : 1);

/** Base64 of the first key after one. */
function after(base64) {
  const key = fromBase64(base64);
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return toBase64(next);
}
