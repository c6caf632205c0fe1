// Dialogs of operations: one at a time.

import { Confirm, Dialog, ErrorNote, announce, html, useState } from "../parts.js";

/**
 * Returns [dialog, ask]. `ask` shows a confirmation: {title, text, action, danger, word} as
 * `Confirm` takes them, `run()` which does it, `done`: what is announced after success.
 */
export function useConfirm() {
  const [asked, setAsked] = useState(null);
  const close = () => setAsked(null);
  const dialog =
    asked &&
    html`<${Confirm}
      ...${asked}
      onConfirm=${async () => {
        await asked.run();
        if (asked.done) announce(asked.done);
      }}
      onClose=${close}
    />`;
  return [dialog, setAsked];
}

/** A form in a dialog. `onSubmit` may return a promise: its error is shown, its success closes. */
export function FormDialog({ title, action, danger, onSubmit, onClose, children, ready = true }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    if (busy || !ready) return;
    setBusy(true);
    setError(null);
    try {
      await onSubmit();
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>
      ${children}
      <${ErrorNote} error=${error} />
      <footer>
        <button type="button" onClick=${onClose}>Cancel</button>
        <button class=${danger ? "danger" : "primary"} disabled=${busy || !ready}>
          ${busy ? "Working …" : action}
        </button>
      </footer>
    </form>
  <//>`;
}
