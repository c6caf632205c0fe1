import { html } from "../parts.js";

/** Time travel: the keys as they were at a revision. */
export default function Page() {
  return html`<h1>Time travel</h1>
    <p class="dim">This page will show the keys as they were at a revision.</p>`;
}
