// The choice of a revision: a slider over those that can be read, a number, or a moment.

import { ErrorNote, html, useEffect, usePolling, useState } from "../parts.js";
import { data } from "../api.js";
import { formatInt, formatTime } from "../text.js";
import { Moment } from "./key_detail.js";

const BOUNDS_MS = 5000;
/** Milliseconds for which the slider rests before the store is asked. */
const REST_MS = 250;

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
    const timer = setTimeout(() => {
      const wanted = draft >= last ? null : String(draft);
      if (wanted === revision) setDraft(null);
      else onChoose(wanted);
    }, REST_MS);
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
      if (answer.revision === null) return;
      const known = BigInt(answer.revision);
      if (known >= first) onChoose(known >= last ? null : answer.revision);
    } catch (failure) {
      setError(failure);
    }
  };
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
    <div class="ends dim small">
      <span>${formatInt(first)}${first > 1n ? " (older ones are compacted)" : ""}</span>
      <span>${formatInt(last)}</span>
    </div>
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
    ${found &&
    html`<p class=${`note ${found.revision === null ? "warn" : "info"}`} role="status">${inWords(found, first)}</p>`}
  </div>`;
}

/** What the member knows of a moment: `found`, its answer, with the `time` that was asked for. */
function inWords({ time, revision, next_revision: next, from, to, oldest }, first) {
  if (revision === null) {
    const since = oldest === null ? "" : ` Its record begins at ${formatTime(oldest)}.`;
    return `This member has no record of ${formatTime(time)}.${since}`;
  }
  const newest =
    next === revision
      ? `Revision ${formatInt(revision)} was the newest at ${formatTime(time)}.`
      : `Revisions ${formatInt(revision)} to ${formatInt(next)} were made between ` +
        `${formatTime(from)} and ${formatTime(to)}; which was the newest at ${formatTime(time)} ` +
        "is not recorded.";
  if (BigInt(revision) >= first) return newest;
  return `${newest} It has been compacted: the store can be read from revision ${formatInt(first)} on.`;
}
