// Members of the cluster and how they are.

import { Badge, DataTable, ErrorNote, html, usePolling } from "../parts.js";
import { data } from "../api.js";
import { formatId, formatInt } from "../text.js";

const COLUMNS = [
  { key: "name", title: "Member", cell: (member) => member.name || formatId(member.id) },
  {
    key: "role",
    title: "Role",
    cell: (member) =>
      !member.reachable
        ? html`<${Badge} kind="bad" text="no answer" />`
        : html`<${Badge}
            kind=${member.leader ? "good" : ""}
            text=${member.leader ? "leader" : member.learner ? "learner" : "follower"}
          />`,
  },
  { key: "term", title: "Term", align: "right", cell: (member) => formatInt(member.term) },
  { key: "index", title: "Index", align: "right", cell: (member) => formatInt(member.index) },
];

export default function Page() {
  const { value, error } = usePolling(() => data("cluster"), 2000);
  return html`<h1>Cluster</h1>
    <${ErrorNote} error=${error} />
    ${value &&
    html`<${DataTable}
      caption="Members"
      columns=${COLUMNS}
      rows=${value.members}
      rowKey=${(member) => member.id}
    />`}`;
}
