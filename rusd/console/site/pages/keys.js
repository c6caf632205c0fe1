// The page Keys: the tree or a list of keys on one side, the chosen key on the other.

import { html, readOnly, Tabs, useEffect, useState } from "../parts.js";
import { fromPrintable, printable } from "../text.js";
import { DeletePrefixDialog } from "./delete_dialogs.js";
import { KeyDetail } from "./key_detail.js";
import { KeyList } from "./key_list.js";
import { hashOf, placeOf } from "./links.js";
import { PutDialog } from "./put_dialog.js";
import { short, Tree } from "./tree.js";

const VIEWS = [
  { id: "tree", title: "Tree" },
  { id: "list", title: "List" },
];
const NONE = new Uint8Array();

/** Prefix and separator; `onChange({prefix, separator})` when they are entered. */
export function PlaceForm({ place, onChange, children }) {
  const [prefix, setPrefix] = useState(() => printable(place.prefix ?? NONE));
  const [separator, setSeparator] = useState(place.separator);
  const submit = (event) => {
    event.preventDefault();
    onChange({ prefix: fromPrintable(prefix), separator });
  };
  return html`<form class="place" role="search" onSubmit=${submit}>
    <label class="grow">
      <span>Prefix</span>
      <input
        type="search"
        class="mono"
        name="prefix"
        autocomplete="off"
        spellcheck=${false}
        placeholder="all keys"
        value=${prefix}
        onInput=${(event) => setPrefix(event.target.value)}
      />
    </label>
    <label>
      <span>Separator</span>
      <input
        class="mono separator"
        name="separator"
        autocomplete="off"
        spellcheck=${false}
        value=${separator}
        onInput=${(event) => setSeparator(event.target.value)}
      />
    </label>
    <button class="primary">Show</button>
    ${children}
  </form>`;
}

export default function Page({ params, go }) {
  const place = placeOf(params);
  const prefix = place.prefix ?? NONE;
  const view = place.view === "list" ? "list" : "tree";
  const [version, setVersion] = useState(0);
  const [dialog, setDialog] = useState(null);
  // (Another address is another page to the user.)
  useEffect(() => setDialog(null), [params.toString()]);
  const refresh = () => setVersion((count) => count + 1);
  const to = (change) => go(hashOf("keys", { ...place, ...change }));
  const select = ({ key = null, branch = null }) => to({ key, branch });
  const branch = place.branch ?? prefix;
  const chosen = place.key ?? place.branch;
  const shown = `${printable(prefix)} ${place.separator}`;
  return html`<h1>Keys</h1>
    <${PlaceForm} key=${shown} place=${place} onChange=${(change) => to({ ...change, key: null, branch: null })}>
      <${Tabs} label="Show keys as" tabs=${VIEWS} selected=${view} onSelect=${(id) => to({ view: id === "tree" ? null : id })} />
      <span class="grow"></span>
      <button type="button" class="quiet" onClick=${refresh}>Refresh</button>
      ${!readOnly() && html`<button type="button" onClick=${() => setDialog("put")}>New key</button>`}
    <//>
    <div class=${`split by-${view} ${place.key ? "chosen" : ""}`}>
      <section class="card browse" aria-label="Keys">
        ${view === "list"
          ? html`<${KeyList} key=${shown} prefix=${prefix} version=${version} onSelect=${select} />`
          : html`<${Tree}
              key=${shown}
              prefix=${prefix}
              separator=${place.separator}
              version=${version}
              selected=${chosen}
              onSelect=${select}
            />`}
        ${!readOnly() && html`<div class="below">
          <button type="button" class="quiet" onClick=${() => setDialog("delete")}>
            Delete all below ${branch.length ? html`<code>${short(branch)}</code>` : "the root"} …
          </button>
        </div>`}
      </section>
      <section aria-label="Chosen key">
        ${place.key
          ? html`<a class="back" href=${hashOf("keys", { ...place, key: null })}>‹ All keys</a>
              <${KeyDetail} key=${printable(place.key)} place=${place} version=${version} onChanged=${refresh} />`
          : html`<p class="dim hint">Choose a key to see its value.</p>`}
      </section>
    </div>
    ${dialog === "put" &&
    html`<${PutDialog}
      kv=${null}
      prefix=${branch}
      onDone=${(key) => {
        refresh();
        select({ key });
      }}
      onClose=${() => setDialog(null)}
    />`}
    ${dialog === "delete" &&
    html`<${DeletePrefixDialog} prefix=${branch} onDone=${refresh} onClose=${() => setDialog(null)} />`}`;
}
