// Locks and elections, as they are found among the keys.

import { call } from "../../api.js";
import { compareBytes, formatId, fromBase64, prefixEnd, printable, toBase64 } from "../../text.js";

/** Keys of one answer. */
const STEP = 1000;

const SLASH = 0x2f;

/**
 * Looks at up to `budget` keys with a prefix, without their values. Returns {queues, looked, more}:
 * queues are {name, members: [{key, base64, lease, created}]}, by name. Members are in the order in
 * which they get the lock: by create revision.
 *
 * A key is taken for a member if its last part is the id of its own lease in hexadecimal: clients of
 * etcd name keys so for locks and elections.
 */
export async function findQueues(prefix, budget) {
  const found = new Map();
  const end = toBase64(prefix.length ? prefixEnd(prefix) : Uint8Array.of(0));
  let key = toBase64(prefix.length ? prefix : Uint8Array.of(0));
  let looked = 0;
  let more = true;
  while (more && looked < budget) {
    const limit = Math.min(STEP, budget - looked);
    const answer = await call("kv/range", { key, range_end: end, limit: String(limit), keys_only: true });
    const { kvs = [] } = answer;
    for (const kv of kvs) {
      const member = readMember(kv);
      if (!member) continue;
      if (!found.has(member.name)) found.set(member.name, []);
      found.get(member.name).push(member);
    }
    looked += kvs.length;
    more = Boolean(answer.more);
    if (kvs.length) key = after(kvs[kvs.length - 1].key);
  }
  const queues = Array.from(found, ([name, members]) => ({ name, members: members.sort(byCreation) }));
  queues.sort((a, b) => compareBytes(a.members[0].key, b.members[0].key));
  return { queues, looked, more };
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
