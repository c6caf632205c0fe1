// The choice of a revision: a slider over those that can be read, a number, or a moment.

import { ErrorNote, html, useEffect, usePolling, useState } from "../parts.js";
import { data } from "../api.js";
import { formatInt, formatTime } from "../text.js";
import { Moment } from "./key_detail.js";

const BOUNDS_MS = 5000;

/** {first_revision, revision, …} of the member, read every few seconds. */
export const useBounds = () => usePolling(() => data("times"), BOUNDS_MS);

/** The first revision that can be read and the newest, as BigInt. */
export function range(bounds) {
  const last = BigInt(bounds.revision);
  const first = BigInt(bounds.first_revision);
  // (Revision 0 is "now" to the store.)
  return { first: first < 1n ? 1n : first, last };
}

/** Local time as a field of type datetime-local writes it. */
function local(milliseconds) {
  return formatTime(milliseconds).replace(" ", "T");
}

/** `revision`: chosen, null for now. `onChoose(revision or null)`. */
export function RevisionBar({ bounds, revision, onChoose }) {
  const { first, last } = range(bounds);
  const chosen = revision === null ? last : BigInt(revision);
  // What the slider and the number show while they are moved.
  const [draft, setDraft] = useState(null);
  const [moment, setMoment] = useState("");
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => setDraft(null), [revision]);
  const shown = draft ?? chosen;

  // The store is asked when the slider rests.
  useEffect(() => {
    if (draft === null) return undefined;
    const timer = setTimeout(() => onChoose(draft >= last ? null : String(draft)), 250);
    return () => clearTimeout(timer);
  }, [draft]);

  const clamp = (wanted) => (wanted < first ? first : wanted > last ? last : wanted);
  const move = (wanted) => {
    setFound(null);
    setDraft(clamp(wanted));
  };
  const typed = (text) => {
    if (/^[0-9]{1,19}$/.test(text)) move(BigInt(text));
  };
  const goTo = async (event) => {
    event.preventDefault();
    const time = new Date(moment).getTime();
    setError(null);
    setFound(null);
    if (Number.isNaN(time)) return;
    try {
      const answer = await data("times", { at: String(time) });
      setFound({ ...answer, time });
      const known = answer.revision === null || answer.revision === undefined ? null : BigInt(answer.revision);
      if (known !== null && known >= first) onChoose(known >= last ? null : String(known));
    } catch (failure) {
      setError(failure);
    }
  };
  const known = found && found.revision !== null && found.revision !== undefined;
  return html`<div class="card revision-bar">
    <div class="slide">
      <button type="button" aria-label="One revision back" disabled=${shown <= first} onClick=${() => move(shown - 1n)}>‹</button>
      <input
        type="range"
        aria-label="Revision"
        aria-valuetext=${`Revision ${formatInt(shown)}`}
        min="0"
        max=${String(last - first)}
        step="1"
        value=${String(clamp(shown) - first)}
        onInput=${(event) => move(first + BigInt(event.target.value))}
      />
      <button type="button" aria-label="One revision forward" disabled=${shown >= last} onClick=${() => move(shown + 1n)}>›</button>
      <button type="button" disabled=${revision === null && draft === null} onClick=${() => move(last)}>Now</button>
    </div>
    <div class="ends dim small"><span>${formatInt(first)}${" "}${first > 1n ? "(older ones are compacted)" : ""}</span><span>${formatInt(last)}</span></div>
    <div class="choices">
      <label>
        <span>Revision</span>
        <input class="mono" inputmode="numeric" size="12" value=${String(shown)} onChange=${(event) => typed(event.target.value)} />
      </label>
      <span class="dim" role="status">
        ${revision === null && draft === null ? "now" : html`<${Moment} revision=${String(shown)} />`}
      </span>
      <form class="moment" onSubmit=${goTo}>
        <label>
          <span>Moment</span>
          <input
            type="datetime-local"
            step="1"
            max=${local(Date.now())}
            value=${moment}
            onInput=${(event) => setMoment(event.target.value)}
          />
        </label>
        <button disabled=${!moment}>Find revision</button>
      </form>
    </div>
    <${ErrorNote} error=${error} />
    ${found && html`<p class=${`note ${known ? "info" : "warn"}`} role="status">${known
      ? BigInt(found.revision) < first
        ? `Revision ${formatInt(found.revision)} was the newest at ${formatTime(found.time)}. It has been compacted: the store can be read from revision ${formatInt(first)} on.`
        : `Revision ${formatInt(found.revision)} was the newest at ${formatTime(found.time)}.`
      : `This member has no record of ${formatTime(found.time)}: it knows the times of revisions only while it runs.`}</p>`}
  </div>`;
}
