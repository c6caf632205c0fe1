// Leases as they count down between two answers of the member.

import { call } from "../../api.js";
import { html, useEffect, useState } from "../../parts.js";
import { formatDuration } from "../../text.js";

/** Calls on their way at once. */
const AT_ONCE = 4;

/** Share of its time from which on a lease is marked: a client renews it after a third. */
const SHORT = 0.2;

/** Results of `fn` for each item, a few at a time; an error becomes {error}. */
export async function each(items, fn) {
  const results = [];
  const rest = [...items.entries()];
  const work = async () => {
    for (let next; (next = rest.shift()); ) {
      const [index, item] = next;
      try {
        results[index] = await fn(item);
      } catch (error) {
        results[index] = { error };
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}

/** Asks for a lease: {id, ttl, granted (s), at (ms), keys (base64) or null}; ttl -1: it has ended. */
export async function askLease(id, keys = false) {
  const answer = await call("lease/timetolive", { ID: id, keys });
  return {
    id,
    ttl: Number(answer.TTL ?? 0),
    granted: Number(answer.grantedTTL ?? 0),
    at: performance.now(),
    keys: keys ? (answer.keys ?? []) : null,
  };
}

/** Draws a component again every second. */
function useSeconds() {
  const [, again] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || again((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, []);
}

/** The time a lease has left, as a bar and in words. `lease`: of `askLease`, or undefined. */
export function Remaining({ lease }) {
  useSeconds();
  if (!lease) return html`<span class="dim">…</span>`;
  if (lease.error) return html`<span class="dim" title=${lease.error.message}>unknown</span>`;
  if (lease.ttl < 0) return html`<span class="dim">ended</span>`;
  const left = Math.max(0, Math.round(lease.ttl - (performance.now() - lease.at) / 1000));
  const share = lease.granted ? Math.min(1, left / lease.granted) : 0;
  return html`<span class="remaining">
    <meter
      class=${share < SHORT ? "warn" : ""}
      min="0"
      max="1"
      value=${share}
      aria-label="Share of the time to live that is left"
    ></meter>
    ${left > 0 ? formatDuration(left) : "ending"}
  </span>`;
}
