// Membership and leadership.

import {
  Copy,
  DataTable,
  Dialog,
  ErrorNote,
  Field,
  announce,
  html,
  usePolling,
  useState,
} from "../parts.js";
import { call, data } from "../api.js";
import { formatId } from "../text.js";
import { Role, consoleOf, memberName } from "./cluster_member.js";
import { FormDialog, useConfirm } from "./operations_action.js";

/** What a number of voting members, some of which do not answer now, means in words. */
function voters(count, silent = 0) {
  if (count < 1) return "no voting member remains";
  const needed = quorumOf(count);
  const spare = count - silent - needed;
  const survive =
    spare < 0
      ? "there is no quorum"
      : spare === 0
        ? `no ${silent ? "further " : ""}failure is survived`
        : `the failure of ${spare}${silent ? " more" : ""} is survived`;
  const now = silent ? `, and ${count - silent} do${count - silent === 1 ? "es" : ""}` : "";
  return `${count} voting member${count === 1 ? "" : "s"}, of which ${needed} must answer${now}: ${survive}`;
}

const quorumOf = (count) => Math.floor(count / 2) + 1;

/** Of members as they are: {count, silent, lost, text}; `lost`: too few answer for a quorum. */
function quorum(members) {
  const voting = members.filter((member) => !member.learner);
  const [count, silent] = [voting.length, voting.filter((member) => !member.reachable).length];
  return { count, silent, lost: count - silent < quorumOf(count), text: voters(count, silent) };
}

/** What a change leads to, with a warning if too few members answer for the quorum after it. */
function Afterwards({ members, until = "" }) {
  const { text, lost } = quorum(members);
  if (!lost) return html`<p>Afterwards: ${text}.</p>`;
  return html`<p class="note bad">Afterwards: ${text}. Nothing can be written${until}.</p>`;
}

/** etcd's strict reconfiguration check counts the members it has a connection to. */
const Refused = () => html`<p class="note warn">
  etcd refuses this while so few members answer, unless it runs with ${" "}
  <code>--strict-reconfig-check=false</code>.
</p>`;

function remove(member, cluster, here) {
  const name = memberName(member);
  const left = cluster.members.filter((one) => one.id !== member.id);
  const text = [
    html`<p>
      Removes <strong>${name}</strong>${member.name && ` (${formatId(member.id)})`} from the
      cluster for good. A removed member stops, and cannot return with its data.
    </p>`,
    !member.learner && html`<${Afterwards} members=${left} />`,
    !member.learner && member.reachable && quorum(left).lost && html`<${Refused} />`,
    member.leader && html`<p>It leads now: writes pause until another member is elected.</p>`,
    member.id === here && html`<p>It serves this page, which will stop to answer.</p>`,
  ];
  return {
    title: `Remove ${name}?`,
    text,
    action: "Remove",
    danger: true,
    word: name,
    run: () => call("cluster/member/remove", { ID: member.id }),
    done: `${name} was removed.`,
  };
}

function promote(member, cluster) {
  const name = memberName(member);
  const after = cluster.members.map((one) =>
    one.id === member.id ? { ...one, learner: false } : one,
  );
  const { lost } = quorum(after);
  return {
    title: `Promote ${name}?`,
    text: [
      html`<p>
        The learner <strong>${name}</strong> becomes a voting member. etcd refuses it while the
        learner is not in step with the leader, not for members that do not answer.
      </p>`,
      html`<${Afterwards} members=${after} />`,
    ],
    action: "Promote",
    danger: lost,
    word: lost ? name : undefined,
    run: () => call("cluster/member/promote", { ID: member.id }),
    done: `${name} is a voting member.`,
  };
}

function lead(member, leader) {
  const name = memberName(member);
  return {
    title: `Make ${name} the leader?`,
    text: html`<p>
      <strong>${memberName(leader)}</strong> hands its leadership to <strong>${name}</strong>.
      Writes wait for a moment.
    </p>`,
    action: "Move leader",
    run: () => call("maintenance/transfer-leadership", { targetID: member.id }),
    done: `${name} leads.`,
  };
}

function AddMember({ cluster, onClose, onAdded }) {
  const [urls, setUrls] = useState("");
  const [learner, setLearner] = useState(true);
  const list = urls.split(/[\s,]+/).filter(Boolean);
  // (It does not answer before it is started. A single member may always be given a second.)
  const after = [...cluster.members, { learner: false, reachable: false }];
  const refused = quorum(cluster.members).count > 1 && quorum(after).lost;
  return html`<${FormDialog}
    title="Add a member"
    action="Add member"
    ready=${list.length > 0}
    onClose=${onClose}
    onSubmit=${async () => {
      const answer = await call("cluster/member/add", { peerURLs: list, isLearner: learner });
      announce(`Member ${formatId(answer.member.ID)} was added.`);
      onAdded(answer);
    }}
  >
    <${Field} label="Peer URLs" hint="Where the new member will listen for its peers; several with commas.">
      <input
        data-focus
        placeholder="http://10.0.0.4:2380"
        spellcheck=${false}
        autocomplete="off"
        value=${urls}
        onInput=${(event) => setUrls(event.target.value)}
      />
    <//>
    <label class="check">
      <input
        type="checkbox"
        checked=${learner}
        onChange=${(event) => setLearner(event.target.checked)}
      />
      As a learner
    </label>
    ${learner
      ? html`<p class="dim">
          A learner receives all data and has no vote, so it cannot harm the quorum. Promote it when
          it is in step.
        </p>`
      : html`<p class="dim">It votes from now on, also before it is started.</p>
          <${Afterwards} members=${after} until=" until enough of them answer" />`}
    ${refused && html`<${Refused} />`}
  <//>`;
}

/** How to start a member that was added, as etcdctl prints it. */
function StartMember({ answer, onClose }) {
  const { member, members } = answer;
  const pairs = members.flatMap((one) =>
    one.peerURLs.map((url) => `${one.ID === member.ID ? "NAME" : one.name}=${url}`),
  );
  const text = [
    "rusd --name NAME \\",
    `  --initial-advertise-peer-urls ${member.peerURLs.join(",")} \\`,
    `  --listen-peer-urls ${member.peerURLs.join(",")} \\`,
    `  --initial-cluster '${pairs.join(",")}' \\`,
    "  --initial-cluster-state existing",
  ].join("\n");
  return html`<${Dialog} title="Start the new member" onClose=${onClose} wide=${true}>
    <div class="body">
      <p>
        Member <code>${formatId(member.ID)}</code> was added. Start it with an empty data directory,
        with these flags and its client URLs; NAME is any name that no other member has.
      </p>
      <pre tabindex="0">${text}</pre>
      <footer>
        <${Copy} text=${text} />
        <button type="button" class="primary" data-focus onClick=${onClose}>Close</button>
      </footer>
    </div>
  <//>`;
}

export default function Members({ allowed, state }) {
  const { value, error, refresh } = usePolling(() => data("cluster"), 2000);
  const [dialog, ask] = useConfirm();
  const [adding, setAdding] = useState(false);
  const [added, setAdded] = useState(null);
  if (!value) return html`<${ErrorNote} error=${error} />`;
  const here = state?.member_id;
  const leader = value.members.find((member) => member.id === value.leader);
  const leads = leader?.id === here;
  const confirm = (question) =>
    ask({ ...question, run: async () => (await question.run(), refresh()) });
  const actions = (member) => html`<div class="actions">
    ${member.learner &&
    html`<button type="button" disabled=${!allowed} onClick=${() => confirm(promote(member, value))}>
      Promote
    </button>`}
    ${!member.learner &&
    !member.leader &&
    leader &&
    html`<button
      type="button"
      disabled=${!allowed || !leads || !member.reachable}
      title=${leads ? undefined : `Only the leader, ${memberName(leader)}, can be asked: open its console`}
      onClick=${() => confirm(lead(member, leader))}
    >
      Make leader
    </button>`}
    <button
      type="button"
      class="danger-quiet"
      disabled=${!allowed}
      onClick=${() => confirm(remove(member, value, here))}
    >
      Remove
    </button>
  </div>`;
  const columns = [
    {
      key: "name",
      title: "Member",
      cell: (member) => html`<strong>${memberName(member)}</strong>
        ${member.id === here && html` <span class="dim">(this member)</span>`}
        <div class="dim small mono">${formatId(member.id)}</div>`,
    },
    { key: "role", title: "Role", cell: (member) => html`<${Role} member=${member} />` },
    { key: "peers", title: "Peer URLs", cell: (member) => html`<${Urls} list=${member.peer_urls} />` },
    { key: "clients", title: "Client URLs", cell: (member) => html`<${Urls} list=${member.client_urls} />` },
    { key: "actions", title: "Actions", cell: actions },
  ];
  return html`<${ErrorNote} error=${error} />
    <div class="bar">
      <p class="dim">
        ${quorum(value.members).text}.
        ${leader && !leads && html` <${OtherLeader} leader=${leader} />`}
      </p>
      <button type="button" class="primary" disabled=${!allowed} onClick=${() => setAdding(true)}>
        Add member
      </button>
    </div>
    <${DataTable}
      caption="Members"
      columns=${columns}
      rows=${[...value.members].sort((a, b) => (memberName(a) < memberName(b) ? -1 : 1))}
      rowKey=${(member) => member.id}
      stack=${true}
    />
    ${dialog}
    ${adding &&
    html`<${AddMember}
      cluster=${value}
      onClose=${() => setAdding(false)}
      onAdded=${(answer) => {
        setAdded(answer);
        refresh();
      }}
    />`}
    ${added && !adding && html`<${StartMember} answer=${added} onClose=${() => setAdded(null)} />`}`;
}

/** Where leadership can be moved: etcd does it for the leader alone. */
function OtherLeader({ leader }) {
  const name = memberName(leader);
  const link = consoleOf(leader);
  return html`Leadership is moved in the console of the leader,
    ${" "}${link ? html`<a href=${`${link}#/operations`} rel="noreferrer">${name}</a>` : name}.`;
}

function Urls({ list = [] }) {
  if (list.length === 0) return html`<span class="dim">none yet</span>`;
  return html`<div class="mono small urls">${list.map((url) => html`<div>${url}</div>`)}</div>`;
}
