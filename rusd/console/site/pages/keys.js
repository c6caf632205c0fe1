import { html } from "../parts.js";

/** Keys: the tree of keys, their values and changes. */
export default function Page() {
  return html`<h1>Keys</h1>
    <p class="dim">This page will show the tree of keys, their values and changes.</p>`;
}
