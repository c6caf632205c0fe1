// Steps through pages; nothing if there is one.

import { html } from "../../parts.js";
import { formatInt } from "../../text.js";

/** `page` and `last` count from 0. */
export function Pager({ page, last, onPage }) {
  if (last === 0) return null;
  return html`<nav class="pager" aria-label="Pages of the list">
    <button type="button" disabled=${page === 0} onClick=${() => onPage(page - 1)}>Previous</button>
    <span>Page ${formatInt(page + 1)} of ${formatInt(last + 1)}</span>
    <button type="button" disabled=${page === last} onClick=${() => onPage(page + 1)}>Next</button>
  </nav>`;
}
