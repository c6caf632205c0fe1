import { html } from "../parts.js";

/** Operations: members, maintenance, users and roles. */
export default function Page() {
  return html`<h1>Operations</h1>
    <p class="dim">This page will change members, run maintenance and manage users and roles.</p>`;
}
