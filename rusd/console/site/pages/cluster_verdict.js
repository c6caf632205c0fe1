// How the cluster is, in sentences. Pure functions of the page `cluster`.

import { formatInt } from "../text.js";
import { memberName } from "./cluster_member.js";

/** Share of the quota from which on its use is a warning. */
const QUOTA_WARNING = 0.8;
/** Entries behind the leader from which on a member's lag is a warning. */
const LAG_WARNING = 5000n;
/** Days before the end of a certificate: warning, and more than that. */
export const CERTIFICATE_DAYS = { warn: 30, bad: 7 };

const list = (members) => members.map(memberName).join(", ");
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** Sentences about the cluster, the worst first: [{kind: "bad" | "warn" | "good", text}]. */
export function verdict(cluster) {
  const { members } = cluster;
  const all = [quorum(cluster), ...alarms(cluster)];
  all.push(...sizes(members), ...lags(members), ...certificates(members));
  if (cluster.backups?.overdue) {
    all.push({ kind: "warn", text: `Backups: ${cluster.backups.overdue}.` });
  }
  const reporting = members.filter((one) => one.reachable && one.version);
  const versions = new Set(reporting.map((one) => one.version));
  if (versions.size > 1) {
    all.push({ kind: "warn", text: `Members run different versions: ${[...versions].join(", ")}.` });
  }
  for (const one of members.filter((each) => each.reachable && !each.version)) {
    all.push({ kind: "warn", text: `${memberName(one)} ${one.error || "has not reported yet"}.` });
  }
  const order = ["bad", "warn", "good"];
  return all.filter(Boolean).sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
}

function quorum({ members, leader }) {
  const voters = members.filter((member) => !member.learner);
  const needed = Math.floor(voters.length / 2) + 1;
  const alive = voters.filter((member) => member.reachable);
  const silent = members.filter((member) => !member.reachable);
  const gone = silent.length > 0 && `No answer from ${list(silent)}.`;
  if (alive.length < needed) {
    const only = `${alive.length} of ${count(voters.length, "voting member")} can be reached, ${needed} are needed`;
    return { kind: "bad", text: `No quorum: ${only}. Nothing can be written. ${gone}` };
  }
  const leading = members.find((member) => member.id === leader);
  if (!leading || (!leading.reachable && silent.includes(leading))) {
    return { kind: "bad", text: `No leader: an election is under way. ${gone || ""}`.trim() };
  }
  const spare = alive.length - needed;
  const loss =
    spare > 0 ? `${count(spare, "more failure")} can be survived.` : "One more failure stops writes.";
  if (gone) return { kind: "warn", text: `${gone} The cluster works. ${loss}` };
  if (voters.length === 1) {
    return { kind: "good", text: "One voting member, which answers. No failure can be survived." };
  }
  const survived = spare > 0 ? `The failure of ${count(spare, "member")} can be survived.` : loss;
  return { kind: "good", text: `All ${members.length} members answer. ${survived}` };
}

const ALARMS = {
  NOSPACE: "the database reached its quota, writes are refused",
  CORRUPT: "its data differs from that of the other members",
};

function alarms({ alarms: raised, members }) {
  return raised.map(({ member, alarm }) => {
    const found = members.find((one) => one.id === member);
    const name = found ? ` of ${memberName(found)}` : "";
    return { kind: "bad", text: `Alarm ${alarm}${name}: ${ALARMS[alarm] ?? "see the log"}.` };
  });
}

function sizes(members) {
  const large = members.filter((one) => one.reachable && used(one) >= QUOTA_WARNING);
  if (large.length === 0) return [];
  const most = Math.floor(Math.max(...large.map(used)) * 100);
  return [{ kind: "warn", text: `The database takes up to ${most}% of its quota: ${list(large)}.` }];
}

function used(member) {
  return Number(member.db_size) / Number(member.quota);
}

function lags(members) {
  return members
    .filter((one) => one.reachable && BigInt(one.lag ?? 0) > LAG_WARNING)
    .map((one) => ({
      kind: "warn",
      text: `${memberName(one)} is ${formatInt(one.lag)} entries behind the leader.`,
    }));
}

/** One sentence for all certificates that end on the same day. */
function certificates(members) {
  const ending = new Map();
  for (const member of members) {
    for (const { days } of member.certificates ?? []) {
      const left = Math.floor(days);
      if (left >= CERTIFICATE_DAYS.warn) continue;
      ending.set(left, new Set([...(ending.get(left) ?? []), member]));
    }
  }
  return [...ending].map(([days, owners]) => {
    const when = days < 0 ? "have expired" : days === 0 ? "expire today" : `expire in ${count(days, "day")}`;
    const kind = days < CERTIFICATE_DAYS.bad ? "bad" : "warn";
    return { kind, text: `Certificates of ${list([...owners])} ${when}.` };
  });
}
