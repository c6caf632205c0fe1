// Compaction, defragmentation, alarms and snapshots.

import {
  Badge,
  DataTable,
  ErrorNote,
  Field,
  announce,
  download,
  html,
  useEffect,
  usePolling,
  useRef,
  useState,
} from "../parts.js";
import { call, data, stream } from "../api.js";
import { formatInt, formatSize, fromBase64 } from "../text.js";
import { memberName } from "./cluster_member.js";
import { useConfirm } from "./operations_action.js";

function Card({ title, children }) {
  return html`<section class="card" aria-label=${title}>
    <h2>${title}</h2>
    ${children}
  </section>`;
}

function Compact({ allowed, revision, ask }) {
  const [typed, setTyped] = useState("");
  const [physical, setPhysical] = useState(false);
  const chosen = typed.trim() || String(revision);
  const valid = /^\d+$/.test(chosen) && BigInt(chosen) > 0n;
  const onSubmit = (event) => {
    event.preventDefault();
    if (!valid) return;
    ask({
      title: `Compact to revision ${formatInt(chosen)}?`,
      text: html`<p>
        Removes all earlier versions of keys before revision <strong>${formatInt(chosen)}</strong>,
        on all members. Reads and watches of earlier revisions fail from then on, and Time travel
        no longer reaches them. The present values stay. This cannot be undone.
      </p>`,
      action: "Compact",
      danger: true,
      run: () => call("kv/compaction", { revision: chosen, physical }),
      done: `Compacted to revision ${formatInt(chosen)}.`,
    });
  };
  return html`<${Card} title="Compact">
    <p class="dim">Forgets history. The space becomes free for new data.</p>
    <form onSubmit=${onSubmit}>
      <${Field} label="Revision" hint=${`The present revision is ${formatInt(revision)}.`}>
        <input
          inputmode="numeric"
          pattern="[0-9]*"
          placeholder=${revision}
          value=${typed}
          onInput=${(event) => setTyped(event.target.value)}
        />
      <//>
      <label class="check">
        <input
          type="checkbox"
          checked=${physical}
          onChange=${(event) => setPhysical(event.target.checked)}
        />
        Wait until it is removed from the disk
      </label>
      <p><button disabled=${!allowed || !valid}>Compact …</button></p>
    </form>
  <//>`;
}

function Defragment({ allowed, member, ask }) {
  const name = memberName(member);
  const free = Math.max(0, Number(member.db_size) - Number(member.db_in_use));
  return html`<${Card} title="Defragment">
    <p class="dim">Gives free space of the database back to the file system.</p>
    <p>
      ${name}: ${formatSize(member.db_size)}, of which ${formatSize(member.db_in_use)} are in use and
      ${" "}${formatSize(free)} are free.
    </p>
    <p>
      <button
        type="button"
        disabled=${!allowed}
        onClick=${() =>
          ask({
            title: `Defragment ${name}?`,
            text: html`<p>
              Rewrites the database of <strong>${name}</strong>, this member alone. Meanwhile its
              clients may wait. Defragment one member at a time, the leader last.
            </p>`,
            action: "Defragment",
            run: () => call("maintenance/defragment"),
            done: `The database of ${name} was defragmented.`,
          })}
      >
        Defragment ${name} …
      </button>
    </p>
  <//>`;
}

const ALARM_HELP = {
  NOSPACE:
    "The database reached its quota. Clear the alarm after space was made: compact, defragment, or delete keys. It comes back at once if there is none.",
  CORRUPT:
    "The data of this member differs from that of the others. Clear the alarm only after the member was replaced or the difference explained.",
};

function Alarms({ allowed, cluster, ask }) {
  const owner = ({ member }) => cluster.members.find(({ id }) => id === member);
  const clear = (row) => ({
    title: `Clear the alarm ${row.alarm}?`,
    text: html`<p>${ALARM_HELP[row.alarm] ?? "The cluster goes on without this alarm."}</p>`,
    action: "Clear alarm",
    danger: true,
    run: () =>
      call("maintenance/alarm", { action: "DEACTIVATE", memberID: row.member, alarm: row.alarm }),
    done: `The alarm ${row.alarm} was cleared.`,
  });
  const columns = [
    { key: "alarm", title: "Alarm", cell: (row) => html`<${Badge} kind="bad" text=${row.alarm} />` },
    { key: "member", title: "Member", cell: (row) => (owner(row) ? memberName(owner(row)) : "none of the members") },
    {
      key: "clear",
      title: "Actions",
      cell: (row) =>
        html`<button type="button" disabled=${!allowed} onClick=${() => ask(clear(row))}>
          Clear …
        </button>`,
    },
  ];
  return html`<${Card} title="Alarms">
    ${cluster.alarms.length === 0
      ? html`<p class="dim">No alarm is raised.</p>`
      : html`<${DataTable}
          caption="Alarms"
          columns=${columns}
          rows=${cluster.alarms}
          rowKey=${(row) => `${row.member} ${row.alarm}`}
        />`}
  <//>`;
}

/** Bytes of a download that are kept in one piece: a Blob, which the browser may put on disk. */
const PIECE = 8 * 1024 * 1024;
/** Bytes of the checksum that follows the database. */
const CHECKSUM = 32;

async function fetchSnapshot(onProgress, signal) {
  const blobs = [];
  let piece = [];
  let held = 0;
  let received = 0;
  let total = null;
  const flush = () => {
    blobs.push(new Blob(piece));
    piece = [];
    held = 0;
  };
  await stream(
    "maintenance/snapshot",
    {},
    ({ blob, remaining_bytes: remaining = "0" }) => {
      const bytes = fromBase64(blob);
      total ??= bytes.length + Number(remaining) + CHECKSUM;
      piece.push(bytes);
      held += bytes.length;
      received += bytes.length;
      if (held >= PIECE) flush();
      onProgress(received, total);
    },
    signal,
  );
  if (signal.aborted) return null;
  if (received !== total) throw new Error("The snapshot ended early. Nothing was saved.");
  flush();
  return blobs;
}

function snapshotName(member) {
  const now = new Date().toISOString().replace(/[-:]/g, "").slice(0, 15);
  return `${member.replace(/[^\w.-]/g, "_")}-${now}Z.db`;
}

function Snapshot({ allowed, state }) {
  const [progress, setProgress] = useState(null);
  const [error, setError] = useState(null);
  const running = useRef(null);
  useEffect(() => () => running.current?.abort(), []);
  const start = async () => {
    running.current = new AbortController();
    setError(null);
    setProgress({ received: 0, total: 1 });
    let shown = 0;
    const onProgress = (received, total) => {
      if (received !== total && performance.now() - shown < 100) return;
      shown = performance.now();
      setProgress({ received, total });
    };
    try {
      const blobs = await fetchSnapshot(onProgress, running.current.signal);
      if (blobs) {
        const name = snapshotName(state?.name ?? "member");
        download(name, blobs);
        announce(`The snapshot was saved as ${name}.`);
      }
    } catch (failure) {
      setError(failure);
    }
    setProgress(null);
  };
  return html`<${Card} title="Snapshot">
    <p class="dim">
      All keys, leases, users and roles as this member has them: a file for
      ${" "}<code>etcdutl snapshot restore</code> or <code>rusdutl snapshot restore</code>.
    </p>
    <${ErrorNote} error=${error} />
    ${progress
      ? html`<p>
          <progress
            max="1"
            value=${progress.received / progress.total}
            aria-label="Download of the snapshot"
          ></progress>
          <span class="dim"> ${formatSize(progress.received)} of ${formatSize(progress.total)}</span>
        </p>
        <p><button type="button" onClick=${() => running.current.abort()}>Cancel</button></p>`
      : html`<p>
          <button type="button" disabled=${!allowed} onClick=${start}>Download a snapshot</button>
        </p>`}
  <//>`;
}

export default function Maintenance({ allowed, mayRead, state }) {
  const { value, error, refresh } = usePolling(() => data("cluster"), 2000);
  const [dialog, ask] = useConfirm();
  if (!value) return html`<${ErrorNote} error=${error} />`;
  const confirm = (question) =>
    ask({ ...question, run: async () => (await question.run(), refresh()) });
  const here = value.members.find((member) => member.id === state?.member_id);
  return html`<${ErrorNote} error=${error} />
    <div class="cards">
      <${Compact} allowed=${allowed} revision=${value.revision} ask=${confirm} />
      ${here && html`<${Defragment} allowed=${allowed} member=${here} ask=${confirm} />`}
      <${Snapshot} allowed=${mayRead} state=${state} />
      <${Alarms} allowed=${allowed} cluster=${value} ask=${confirm} />
    </div>
    ${dialog}`;
}
