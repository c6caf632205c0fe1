// Line differences of two texts, bounded in time and memory.
//
// Equal lines at both ends are set aside; what lies between is compared by Myers' algorithm ("An
// O(ND) Difference Algorithm and Its Variations", 1986). Texts that differ in more than MOST_EDITS
// lines are shown as removed and added as a whole: no reader follows such a difference line by
// line.

export const MOST_EDITS = 500;
export const MOST_LINES = 20000;
// Equal lines shown around a change.
const CONTEXT = 3;

// Returns [{kind: " " | "-" | "+", text}], all lines in order.
export function lines(before, after) {
  const a = before === "" ? [] : before.split("\n");
  const b = after === "" ? [] : after.split("\n");
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let endA = a.length;
  let endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  const middle = edits(a.slice(start, endA), b.slice(start, endB));
  const same = (text) => ({ kind: " ", text });
  return [...a.slice(0, start).map(same), ...middle, ...a.slice(endA).map(same)];
}

// Returns [{kind, text} | {skipped: number of equal lines left out}].
export function hunks(before, after) {
  const all = lines(before, after);
  const shown = new Uint8Array(all.length);
  all.forEach((line, at) => {
    if (line.kind === " ") return;
    const from = Math.max(0, at - CONTEXT);
    const to = Math.min(all.length, at + CONTEXT + 1);
    for (let near = from; near < to; near++) shown[near] = 1;
  });
  const found = [];
  let skipped = 0;
  all.forEach((line, at) => {
    if (!shown[at]) {
      skipped++;
      return;
    }
    if (skipped) found.push({ skipped });
    skipped = 0;
    found.push(line);
  });
  if (skipped) found.push({ skipped });
  return found;
}

function edits(a, b) {
  const removed = (text) => ({ kind: "-", text });
  const added = (text) => ({ kind: "+", text });
  const whole = () => [...a.map(removed), ...b.map(added)];
  if (!a.length || !b.length || a.length + b.length > MOST_LINES) return whole();
  const most = Math.min(a.length + b.length, MOST_EDITS);
  // reached[most + k]: the furthest x on diagonal k = x - y; rounds: its state before each round.
  const reached = new Int32Array(2 * most + 2);
  const rounds = [];
  for (let d = 0; d <= most; d++) {
    rounds.push(reached.slice(most - d, most + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reached[most + k - 1] < reached[most + k + 1]);
      let x = down ? reached[most + k + 1] : reached[most + k - 1] + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x++;
        y++;
      }
      reached[most + k] = x;
      if (x >= a.length && y >= b.length) return backwards(a, b, rounds, d);
    }
  }
  return whole();
}

function backwards(a, b, rounds, last) {
  const found = [];
  let x = a.length;
  let y = b.length;
  for (let d = last; d > 0; d--) {
    const at = (k) => rounds[d][d + k];
    const k = x - y;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const previous = down ? k + 1 : k - 1;
    const fromX = at(previous);
    const fromY = fromX - previous;
    while (x > fromX && y > fromY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) {
      found.push({ kind: " ", text: a[--x] });
      y--;
    }
    if (down) found.push({ kind: "+", text: b[--y] });
    else found.push({ kind: "-", text: a[--x] });
  }
  while (x > 0) {
    found.push({ kind: " ", text: a[--x] });
  }
  return found.reverse();
}
