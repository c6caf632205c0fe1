// What pages say of a member.

import { Badge, html } from "../parts.js";
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

/** The role of a member as badges. */
export function Role({ member }) {
  const role = memberRole(member);
  const kind = { leader: "good", "no answer": "bad", learner: "info" }[role];
  return html`<span class="chips">
    <${Badge} kind=${kind} text=${role} />
    ${member.learner && role !== "learner" && html`<${Badge} text="learner" />`}
  </span>`;
}

/** The console of a member, if its client URL can be one; the browser may reach others. */
export function consoleOf(member) {
  const url = member.client_urls?.find((one) => /^https?:\/\//.test(one));
  return url && `${url.replace(/\/$/, "")}/console/`;
}
