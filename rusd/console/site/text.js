// Bytes, text and numbers as people read them. Pure functions.

// (A byte order mark is a part of a value: a decoder would drop it.)
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ENCODER = new TextEncoder();

/** Bytes of a base64 string, as the gateway writes keys and values; none for undefined. */
export function fromBase64(text) {
  const binary = atob(text ?? "");
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Base64 of bytes. */
export function toBase64(bytes) {
  let binary = "";
  const step = 0x8000; // arguments of a call are limited
  for (let i = 0; i < bytes.length; i += step) {
    binary += String.fromCharCode(...bytes.subarray(i, i + step));
  }
  return btoa(binary);
}

/** Bytes of a text in UTF-8. */
export function toBytes(text) {
  return ENCODER.encode(text);
}

/** Text of bytes in UTF-8, or null if they are not UTF-8 or contain control characters. */
export function toText(bytes) {
  let text;
  try {
    text = DECODER.decode(bytes);
  } catch {
    return null;
  }
  return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text) ? null : text;
}

/** Parsed JSON of bytes that hold an object or array, or undefined. */
export function toJson(bytes) {
  const text = toText(bytes);
  if (text === null || !/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const hex2 = (byte) => byte.toString(16).padStart(2, "0");
// Controls, format characters (which reorder what a reader sees), unassigned and line separators.
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]/u;

/** Bytes as one line of text: `\xNN` for all that is not visible, `\\` for a backslash. */
export function printable(bytes) {
  const escaped = (part) => Array.from(part, (byte) => `\\x${hex2(byte)}`).join("");
  let line = "";
  for (let i = 0; i < bytes.length; ) {
    const lead = bytes[i];
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const part = bytes.subarray(i, i + length);
    let char = null;
    try {
      char = DECODER.decode(part);
    } catch {
      // shown as bytes
    }
    if (char === null) {
      line += escaped(part.subarray(0, 1));
      i += 1;
      continue;
    }
    line += char === "\\" ? "\\\\" : HIDDEN.test(char) ? escaped(part) : char;
    i += length;
  }
  return line;
}

/** Bytes of a line that `printable` wrote or a person typed. */
export function fromPrintable(line) {
  const bytes = [];
  for (const [token, code] of line.matchAll(/\\x([0-9a-fA-F]{2})|\\\\|[^\\]+|\\/g)) {
    if (code) bytes.push(parseInt(code, 16));
    else if (token === "\\\\") bytes.push(0x5c);
    else for (const byte of ENCODER.encode(token)) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** The end of the range of all keys with a prefix; one zero byte (no end) if there is none. */
export function prefixEnd(prefix) {
  for (let last = prefix.length - 1; last >= 0; last--) {
    if (prefix[last] < 0xff) {
      const end = prefix.slice(0, last + 1);
      end[last] += 1;
      return end;
    }
  }
  return Uint8Array.of(0);
}

/** Order of two byte strings: negative, 0 or positive. */
export function compareBytes(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** Offsets, hexadecimal and visible ASCII, 16 bytes a line. */
export function hexDump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = Array.from(bytes.subarray(at, at + 16));
    const codes = row.map(hex2).join(" ").padEnd(47);
    const ascii = row.map((b) => (b > 0x1f && b < 0x7f ? String.fromCharCode(b) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${codes}  ${ascii}`);
  }
  return lines.join("\n");
}

/** Whether bytes look like an object that a Kubernetes API server stored. */
export function isKubernetes(bytes) {
  if (bytes[0] === 0x6b && bytes[1] === 0x38 && bytes[2] === 0x73 && bytes[3] === 0) return true;
  const value = toJson(bytes);
  return typeof value?.apiVersion === "string" && typeof value?.kind === "string";
}

/** `1.5 MB`: a size in bytes (number or string), in powers of 1000. */
export function formatSize(size) {
  let rest = Number(size ?? 0);
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (rest < 999.5) return `${unit === "B" || rest >= 99.5 ? Math.round(rest) : rest.toFixed(1)} ${unit}`;
    rest /= 1000;
  }
  return `${rest.toFixed(1)} TB`;
}

/** `12,345`: an integer given as string, number or BigInt. */
export function formatInt(value) {
  return BigInt(value ?? 0).toLocaleString("en-US");
}

/** `3 d 4 h`, `2 min 5 s`, `1.5 s`, `12 ms`: a duration in seconds. */
export function formatDuration(seconds) {
  const value = Number(seconds);
  if (value < 0) return `-${formatDuration(-value)}`;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 59.95) return `${value < 9.95 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value)} s`;
  const whole = Math.round(value);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor((whole % 86400) / 3600), "h"],
    [Math.floor((whole % 3600) / 60), "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

/** `2026-01-31 17:05:09`: local time of a unix time in milliseconds. */
export function formatTime(milliseconds) {
  const date = new Date(Number(milliseconds));
  const two = (number) => String(number).padStart(2, "0");
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  );
}

/** Hexadecimal of an id given as decimal string, as etcd's tools print members and leases. */
export function formatId(id) {
  return BigInt.asUintN(64, BigInt(id ?? 0)).toString(16);
}

/** Decimal string of an id in hexadecimal. Throws SyntaxError if it is none. */
export function parseId(text) {
  return BigInt(`0x${text.trim().replace(/^0x/i, "")}`).toString();
}
