// JSON with line breaks and indentation, its tokens untouched: numbers keep all their digits and
// names their order, which parsing would lose.

const TOKENS = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g;
/** Objects and arrays within each other; indentation of more would grow with the square. */
const DEEPEST = 200;

/** JSON text as indented lines; null if `text` is not JSON of an object or array. */
export function prettyJson(text) {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const parts = [];
  let depth = 0;
  let opened = false; // an object or array to which nothing was added yet
  const newLine = () => parts.push("\n", "  ".repeat(depth));
  for (const [token] of text.matchAll(TOKENS)) {
    const closes = token === "}" || token === "]";
    if (closes) depth--;
    if (opened !== closes) newLine();
    opened = token === "{" || token === "[";
    if (opened && ++depth > DEEPEST) return null;
    parts.push(token);
    if (token === ":") parts.push(" ");
    if (token === ",") newLine();
  }
  return parts.join("");
}
