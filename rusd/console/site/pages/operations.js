// Changes of the cluster that are no changes of keys. Each one is asked back in words.

import { Tabs, html, readOnly, root, useMemberState, useSession } from "../parts.js";
import Maintenance from "./operations_maintenance.js";
import Members from "./operations_members.js";
import Roles from "./operations_roles.js";
import Users from "./operations_users.js";

const TABS = [
  { id: "members", title: "Members", Part: Members },
  { id: "maintenance", title: "Maintenance", Part: Maintenance },
  { id: "users", title: "Users", Part: Users },
  { id: "roles", title: "Roles", Part: Roles },
];

/** Why the controls are disabled, or null. */
function refusal(session) {
  if (!root()) {
    return `You are signed in as ${session.user}, a user without the role root. etcd allows operations to that role only.`;
  }
  if (readOnly()) return "The console of this member is read-only, set by its flag --console-read-only.";
  return null;
}

export default function Page({ params, go }) {
  const state = useMemberState();
  const session = useSession();
  const tab = TABS.find(({ id }) => id === params.get("tab")) ?? TABS[0];
  const why = refusal(session);
  return html`<h1>Operations</h1>
    ${why && html`<p class="note info" role="status">${why}</p>`}
    <${Tabs}
      label="Operations"
      tabs=${TABS}
      selected=${tab.id}
      onSelect=${(id) => go(`#/operations?tab=${id}`)}
    />
    <div class="operations">
      <${tab.Part} allowed=${why === null} mayRead=${root()} state=${state} />
    </div>`;
}
