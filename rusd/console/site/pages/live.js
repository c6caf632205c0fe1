import { Tabs, html } from "../parts.js";
import { Watch } from "./live/watch.js";
import { Leases } from "./live/leases.js";
import { Locks } from "./live/locks.js";

const TABS = [
  { id: "watch", title: "Watch", Panel: Watch },
  { id: "leases", title: "Leases", Panel: Leases },
  { id: "locks", title: "Locks and elections", Panel: Locks },
];

/** Live: changes as they happen, leases that count down, locks and elections with their waiters. */
export default function Page({ params, go }) {
  const { id, title, Panel } = TABS.find((tab) => tab.id === params.get("tab")) ?? TABS[0];
  return html`<h1>Live</h1>
    <${Tabs}
      label="What to look at"
      tabs=${TABS}
      selected=${id}
      onSelect=${(tab) => go(`#/live?tab=${tab}`)}
    />
    <div class="live" role="tabpanel" aria-label=${title}>
      <${Panel} key=${id} params=${params} go=${go} />
    </div>`;
}
