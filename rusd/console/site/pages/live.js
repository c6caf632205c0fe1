import { html } from "../parts.js";

/** Live: changes as they happen, leases, locks and elections. */
export default function Page() {
  return html`<h1>Live</h1>
    <p class="dim">This page will show changes as they happen, leases, locks and elections.</p>`;
}
