// What pages say of a member.

import { formatId } from "../text.js";

/** A member's name, or its id in hexadecimal while it has none. */
export function memberName(member) {
  return member.name || formatId(member.id);
}

/** "leader", "follower", "learner" or "no answer". */
export function memberRole(member) {
  if (!member.reachable) return "no answer";
  if (member.leader) return "leader";
  return member.learner ? "learner" : "follower";
}
