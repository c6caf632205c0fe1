// Members of the cluster, how they are, and what this member did in the last 15 minutes.

import { Badge, DataTable, ErrorNote, html, useEffect, useMemberState, usePolling, useState } from "../parts.js";
import { data } from "../api.js";
import { formatDuration, formatId, formatInt, formatSize } from "../text.js";
import { Role, consoleOf, memberName } from "./cluster_member.js";
import { Picture } from "./cluster_picture.js";
import { CERTIFICATE_DAYS, verdict } from "./cluster_verdict.js";

function Name({ member, here }) {
  const name = memberName(member);
  const link = member.id !== here && member.reachable && consoleOf(member);
  return html`<div class="member-name">
    ${link
      ? html`<a href=${link} rel="noreferrer" title="Its console">${name}</a>`
      : html`<strong>${name}</strong>`}
    ${member.id === here && html` <span class="dim">(this member)</span>`}
    <div class="dim small mono">${formatId(member.id)}</div>
    ${member.error && html`<div class="small bad-text">${member.error}</div>`}
  </div>`;
}

function Size({ member }) {
  const share = Math.min(1, Number(member.db_size) / Number(member.quota));
  const kind = share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "";
  const words = `${formatSize(member.db_size)} of ${formatSize(member.quota)}`;
  return html`<div class="size" title=${`${formatSize(member.db_in_use)} in use`}>
    <span>${words}</span>
    <meter class=${kind} min="0" max="1" value=${share} aria-label=${words}></meter>
  </div>`;
}

function Certificates({ list }) {
  if (!list?.length) return html`<span class="dim">none</span>`;
  const next = list.reduce((least, one) => (one.days < least.days ? one : least));
  const kind = next.days < CERTIFICATE_DAYS.bad ? "bad" : next.days < CERTIFICATE_DAYS.warn ? "warn" : "";
  const all = list.map(({ what, days }) => `${what}: ${Math.floor(days)} days`).join("\n");
  return html`<span title=${all}><${Badge} kind=${kind} text=${`${Math.floor(next.days)} days`} /></span>`;
}

function columns(cluster, here) {
  // Of a member without an answer nothing is known but its place in the list. One of an earlier
  // release answers and does not report: the leader knows its index.
  const unknown = html`<span class="dim unknown">–</span>`;
  const known = (cell) => (member) => (member.reachable && member.version ? cell(member) : unknown);
  const number = (key, title) => ({
    key,
    title,
    align: "right",
    cell: (one) => (one.reachable && one[key] ? formatInt(one[key]) : unknown),
  });
  const raised = (member) => cluster.alarms.filter((alarm) => alarm.member === member.id);
  return [
    { key: "name", title: "Member", cell: (member) => html`<${Name} member=${member} here=${here} />` },
    { key: "role", title: "Role", cell: (member) => html`<${Role} member=${member} />` },
    number("term", "Term"),
    number("index", "Index"),
    number("lag", "Lag"),
    { key: "version", title: "Version", cell: known((member) => member.version) },
    { key: "size", title: "Database", cell: known((member) => html`<${Size} member=${member} />`) },
    {
      key: "alarms",
      title: "Alarms",
      cell: (member) =>
        raised(member).length
          ? raised(member).map(({ alarm }) => html`<${Badge} kind="bad" text=${alarm} />`)
          : html`<span class="dim">none</span>`,
    },
    {
      key: "certificates",
      title: "Certificates",
      cell: known((member) => html`<${Certificates} list=${member.certificates} />`),
    },
  ];
}

/** The newest backup, and how far the archive behind it reaches. */
function lastBackup({ time, revision, archive_behind }) {
  if (!time) return "none yet";
  const age = formatDuration(Math.max(0, Math.round(Date.now() / 1000 - time)));
  const archived = archive_behind === null ? "" : archive_behind > 0 ? `, archive ${formatDuration(archive_behind)} behind` : ", archived since";
  return `revision ${formatInt(revision)}, ${age} ago${archived}`;
}

function Facts({ cluster }) {
  const leading = cluster.members.find((member) => member.id === cluster.leader);
  const facts = [
    ["Leader", leading ? memberName(leading) : "none"],
    ["Term", formatInt(cluster.term)],
    ["Revision", formatInt(cluster.revision)],
    ["Members", cluster.members.length],
    ["Quota", formatSize(cluster.quota)],
    ...(cluster.backups ? [["Last backup", lastBackup(cluster.backups)]] : []),
  ];
  return html`<dl class="cluster-facts">
    ${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

/** Charts, once their library has come: the table does not wait for it. */
function LazyCharts({ name }) {
  const [Charts, setCharts] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    import("./cluster_charts.js").then((module) => setCharts(() => module.default), setError);
  }, []);
  if (error) return html`<${ErrorNote} error=${error} />`;
  return Charts && html`<${Charts} name=${name} />`;
}

/** Said while the member does not answer: what it said last may no longer hold. */
const UNKNOWN = { kind: "warn", text: "The picture is the last that this member sent." };

export default function Page() {
  const state = useMemberState();
  const { value, error } = usePolling(() => data("cluster"), 1000);
  if (!value) return error ? html`<${ErrorNote} error=${error} />` : html`<p class="loading">Loading …</p>`;
  const here = state?.member_id;
  const members = [...value.members].sort((a, b) => (memberName(a) < memberName(b) ? -1 : 1));
  return html`<h1 class="hidden">Cluster</h1>
    <${ErrorNote} error=${error} />
    <section class=${`cluster-head card ${error ? "old" : ""}`} aria-label="Overview">
      <${Picture} cluster=${value} here=${here} />
      <div>
        <ul class="verdict" aria-live="polite">
          ${(error ? [UNKNOWN] : verdict(value)).map(({ kind, text }) => html`<li key=${text} class=${`note ${kind}`}>${text}</li>`)}
        </ul>
        <${Facts} cluster=${value} />
        <p class="dim small">
          As seen by ${state?.name ?? "this member"}. Values of other members are up to a few
          seconds old.
        </p>
      </div>
    </section>
    <section>
      <${DataTable}
        caption="Members"
        columns=${columns(value, here)}
        rows=${members}
        rowKey=${(member) => member.id}
        stack=${true}
      />
    </section>
    <${LazyCharts} name=${state?.name ?? "This member"} />`;
}
