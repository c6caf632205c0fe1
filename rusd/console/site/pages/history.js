// The page Time travel: the keys as they were at a revision, and the history of one of them.

import { ErrorNote, html, useState } from "../parts.js";
import { formatInt, printable } from "../text.js";
import { KeyHistory } from "./key_history.js";
import { PlaceForm } from "./keys.js";
import { hashOf, placeOf } from "./links.js";
import { range, RevisionBar, useBounds } from "./revision_bar.js";
import { Tree } from "./tree.js";

const NONE = new Uint8Array();

export default function Page({ params, go }) {
  const place = placeOf(params);
  const prefix = place.prefix ?? NONE;
  const { value: bounds, error, refresh } = useBounds();
  const [version, setVersion] = useState(0);
  const to = (change) => go(hashOf("history", { ...place, ...change }));
  const changed = () => {
    refresh();
    setVersion((count) => count + 1);
  };
  if (!bounds) {
    return html`<h1>Time travel</h1>
      ${error ? html`<${ErrorNote} error=${error} />` : html`<p class="loading">Loading …</p>`}`;
  }
  const { first, last } = range(bounds);
  const asked = place.revision === null ? null : BigInt(place.revision);
  const compacted = asked !== null && asked < first;
  const future = asked !== null && asked > last;
  const revision = compacted || future ? null : place.revision;
  const shown = `${printable(prefix)} ${place.separator}`;
  return html`<h1>Time travel</h1>
    <${ErrorNote} error=${error} />
    <${RevisionBar} bounds=${bounds} revision=${revision} onChoose=${(chosen) => to({ revision: chosen })} />
    ${compacted && html`<p class="note warn" role="alert">
      Revision ${formatInt(asked)} has been compacted: the store can be read from revision ${formatInt(first)} on.
      ${" "}<button type="button" onClick=${() => to({ revision: String(first) })}>Go to ${formatInt(first)}</button>
    </p>`}
    ${future && html`<p class="note warn" role="alert">
      Revision ${formatInt(asked)} has not been made yet: the newest is ${formatInt(last)}.
    </p>`}
    <${PlaceForm} key=${shown} place=${place} onChange=${(change) => to({ ...change, key: null })} />
    <div class=${`split ${place.key ? "chosen" : ""}`}>
      <section class="card browse" aria-label="Keys at the revision">
        ${!compacted && !future && html`<${Tree}
          key=${shown}
          prefix=${prefix}
          separator=${place.separator}
          revision=${revision}
          version=${version}
          selected=${place.key}
          onSelect=${({ key }) => key && to({ key })}
        />`}
      </section>
      <section aria-label="History of the chosen key">
        ${place.key
          ? html`<a class="back" href=${hashOf("history", { ...place, key: null })}>‹ All keys</a>
              <${KeyHistory}
                key=${printable(place.key)}
                keyBytes=${place.key}
                revision=${revision}
                version=${version}
                onRevision=${(chosen) => to({ revision: chosen })}
                onChanged=${changed}
              />`
          : html`<p class="dim hint">Choose a key to see its history.</p>`}
      </section>
    </div>`;
}
