import { html } from "../parts.js";
import { toJson, toText } from "../text.js";

/** A Kubernetes object, readable. */
export default function Kubernetes({ bytes }) {
  const json = toJson(bytes);
  return html`<pre tabindex="0">${json ? JSON.stringify(json, null, 2) : toText(bytes)}</pre>`;
}
