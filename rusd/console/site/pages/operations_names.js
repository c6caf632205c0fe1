// Long lists of names (users, roles), of which those on screen are read one by one.

import { html, useCallback, useEffect, useRef, useState } from "../parts.js";

/** Names that are shown, and asked for, at once. */
const SHOWN = 50;

/**
 * Reads all names, and the detail of those that are shown. Returns {names, rows: [{name, detail,
 * error}], error, refresh, page, pages, setPage}; names and rows are undefined until they are known.
 */
export function useNames(readNames, readDetail) {
  const [names, setNames] = useState(undefined);
  const [error, setError] = useState(null);
  const [details, setDetails] = useState(new Map());
  const [wanted, setPage] = useState(0);
  const turn = useRef(0);
  const pages = Math.max(1, Math.ceil((names?.length ?? 0) / SHOWN));
  const page = Math.min(wanted, pages - 1);
  const load = useCallback(async () => {
    const mine = ++turn.current;
    const current = () => mine === turn.current;
    try {
      const all = (await readNames()).sort();
      if (!current()) return;
      setNames(all);
      setError(null);
      const last = Math.max(0, Math.ceil(all.length / SHOWN) - 1);
      const start = Math.min(wanted, last) * SHOWN;
      const found = new Map();
      const read = async (name) => {
        try {
          found.set(name, { detail: await readDetail(name) });
        } catch (failure) {
          found.set(name, { error: failure });
        }
      };
      await Promise.all(all.slice(start, start + SHOWN).map(read));
      if (current()) setDetails(found);
    } catch (failure) {
      if (current()) setError(failure);
    }
  }, [wanted]);
  useEffect(() => {
    load();
    return () => turn.current++;
  }, [load]);
  const shown = names?.slice(page * SHOWN, (page + 1) * SHOWN);
  const rows = shown?.map((name) => ({ name, ...details.get(name) }));
  return { names, rows, error, refresh: load, page, pages, setPage };
}

/** Buttons to the pages of a list; nothing if there is one page. */
export function Pages({ names: { page, pages, setPage } }) {
  if (pages === 1) return null;
  return html`<p class="bar">
    <button type="button" disabled=${page === 0} onClick=${() => setPage(page - 1)}>Previous</button>
    <span class="dim">Page ${page + 1} of ${pages}</span>
    <button type="button" disabled=${page === pages - 1} onClick=${() => setPage(page + 1)}>Next</button>
  </p>`;
}
