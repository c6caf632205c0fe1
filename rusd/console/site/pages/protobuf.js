// Reading of protobuf messages without their definition.
//
// A message is a list of fields {number, wire, value}. What a length-delimited field holds (text, a
// message, bytes) is not written in it: `message` decides by trying. Depth and number of fields
// are bounded, so hostile bytes cost no more than honest ones.

const DEEPEST = 24;
export const MOST_FIELDS = 5000;

const utf8 = new TextDecoder("utf-8", { fatal: true });

// Returns the fields of `bytes`; null if they are not a message.
export function fields(bytes) {
  const found = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (at >= bytes.length) return null;
      const byte = bytes[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    return null;
  };
  while (at < bytes.length) {
    if (found.length >= MOST_FIELDS) return null;
    const tag = varint();
    if (tag === null || tag >> 3n === 0n || tag > 0xffffffffn) return null;
    const number = Number(tag >> 3n);
    const wire = Number(tag & 7n);
    let value;
    if (wire === 0) {
      value = varint();
      if (value === null) return null;
    } else if (wire === 1 || wire === 5) {
      const size = wire === 1 ? 8 : 4;
      if (at + size > bytes.length) return null;
      value = bytes.subarray(at, at + size);
      at += size;
    } else if (wire === 2) {
      const size = varint();
      if (size === null || size > BigInt(bytes.length - at)) return null;
      value = bytes.subarray(at, at + Number(size));
      at += Number(size);
    } else {
      return null;
    }
    found.push({ number, wire, value });
  }
  return found;
}

// Returns the text of `bytes`; null if they are not printable UTF-8.
export function text(bytes) {
  let read;
  try {
    read = utf8.decode(bytes);
  } catch {
    return null;
  }
  // Line ends and tabs occur in texts; other control characters do not.
  return /[\u0000-\u0008\u000b-\u001f\u007f]/.test(read) ? null : read;
}

// The first field `number` as bytes, or an empty array.
export function bytesOf(message, number) {
  const found = message.find((field) => field.number === number && field.wire === 2);
  return found ? found.value : new Uint8Array();
}

export function textOf(message, number) {
  return text(bytesOf(message, number)) ?? "";
}

export function numberOf(message, number) {
  const found = message.find((field) => field.number === number && field.wire === 0);
  return found ? BigInt.asIntN(64, found.value) : 0n;
}

// A map<string, string> field as [[key, value]].
export function mapOf(message, number) {
  const found = [];
  for (const field of message) {
    if (field.number !== number || field.wire !== 2) continue;
    const entry = fields(field.value);
    if (entry) found.push([textOf(entry, 1), textOf(entry, 2)]);
  }
  return found;
}

const isMap = (schema) => schema && schema.$map !== undefined;

// Returns a plain object, array or text that shows `bytes`. `schema`: {number: name or [name,
// schema]}, with names of fields where they are known ("name[]": a list); others are shown by
// their number.
// {$as: "time" | "quantity" | "bytes" | "bool" | "size" | "hidden"} are leaves; {$map: schema} is a map.
export function message(bytes, schema = {}, budget = { left: MOST_FIELDS }, depth = 0) {
  const read = depth > DEEPEST ? null : fields(bytes);
  if (read === null) return leaf(bytes);
  const found = {};
  for (const { number, wire, value } of read) {
    if (budget.left-- <= 0) {
      found["…"] = "(cut)";
      break;
    }
    const known = schema[number];
    const [named, inner] = Array.isArray(known) ? known : [known ?? `field ${number}`, undefined];
    const many = named.endsWith("[]");
    const name = many ? named.slice(0, -2) : named;
    if (isMap(inner)) {
      const entry = fields(value) ?? [];
      const map = own(found, name) ?? put(found, name, {});
      put(map, textOf(entry, 1), shown(2, bytesOf(entry, 2), inner.$map, budget, depth + 1));
      continue;
    }
    const one = shown(wire, value, inner, budget, depth + 1);
    if (isDefault(one, known)) continue;
    const before = own(found, name);
    if (before === undefined) put(found, name, many ? Many.of(one) : one);
    else if (before instanceof Many) before.push(one);
    else put(found, name, Many.of(before, one));
  }
  return found;
}

// Fields without content (Go writes them all the same): empty text, and zeros of unknown meaning.
const isDefault = (one, known) => one === "" || (one === 0 && known === undefined);

// A field that occurs repeatedly.
class Many extends Array {}

// (A key of a map may be "__proto__".)
const own = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined);

function put(object, name, value) {
  Object.defineProperty(object, name, {
    value, enumerable: true, configurable: true, writable: true,
  });
  return value;
}

function shown(wire, value, schema, budget, depth) {
  if (wire === 0) {
    const signed = BigInt.asIntN(64, value);
    const small = signed >= -(2n ** 53n) && signed <= 2n ** 53n;
    if (schema?.$as === "bool") return value !== 0n;
    return small ? Number(signed) : String(signed);
  }
  if (wire !== 2) return fixed(value);
  if (schema?.$as === "time") return time(value);
  if (schema?.$as === "quantity") return textOf(fields(value) ?? [], 1);
  if (schema?.$as === "size") return `(${value.length} bytes)`;
  if (schema?.$as === "hidden") return `(${value.length} bytes, not shown here)`;
  if (schema?.$as === "bytes") return leaf(value);
  if (schema) return message(value, schema, budget, depth);
  const read = text(value);
  if (read !== null) return read;
  return message(value, {}, budget, depth);
}

function leaf(bytes) {
  const read = text(bytes);
  if (read !== null) return read;
  const start = Array.from(bytes.subarray(0, 32), (byte) => byte.toString(16).padStart(2, "0"));
  return `(${bytes.length} bytes: ${start.join(" ")}${bytes.length > 32 ? " …" : ""})`;
}

function fixed(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return bytes.length === 8 ? view.getFloat64(0, true) : view.getFloat32(0, true);
}

// A Kubernetes Time: seconds and nanoseconds.
export function time(bytes) {
  const read = fields(bytes) ?? [];
  const seconds = Number(numberOf(read, 1));
  // (What Go writes for no time.)
  if (seconds === 0 || seconds === -62135596800) return "";
  if (!Number.isFinite(seconds) || Math.abs(seconds) > 8.64e12) return String(seconds);
  return new Date(seconds * 1000).toISOString().replace(".000", "");
}
