// Calls to the member that served this page. All URLs are relative, so a reverse proxy may put the
// member behind any path. The token lives in this module only: a reload signs out.

/** An answer other than success: HTTP status, gRPC code and the server's message. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

/** Who is signed in. `reason` says why a session ended. `roles` are the user's. */
export const session = { user: null, token: null, roles: [], reason: null };

const listeners = new Set();

/** Calls back after every change of the session; returns a function that ends it. */
export function onSession(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

function become(user, token, roles, reason) {
  Object.assign(session, { user, token, roles, reason });
  for (const callback of listeners) callback(session);
}

/** Signs in against etcd's auth. Throws ApiError. */
export async function signIn(name, password) {
  const { token } = await post("auth/authenticate", { name, password });
  // Each user may read its own roles.
  const { roles = [] } = await post("auth/user/get", { name }, { token });
  become(name, token, roles, null);
}

/** Forgets the token. (etcd has no call that revokes it: it expires by the server's time.) */
export function signOut() {
  become(null, null, [], null);
}

/** Whether the caller may do what etcd allows the role root only; true while auth is off. */
export function isRoot(state) {
  return !state?.auth_enabled || session.roles.includes("root");
}

// What etcd answers to a token that is unknown, expired, missing or older than the last change of
// users and roles.
const ENDED = [
  [/invalid auth token/, "The session has expired. Sign in again."],
  [/user name is empty/, "This cluster has authentication enabled. Sign in."],
  [/revision of auth store is old/, "Users or roles were changed. Sign in again."],
];

function ended(error, token) {
  if (token !== session.token) return error; // an answer to an earlier session
  const reason = ENDED.find(([pattern]) => pattern.test(error.message))?.[1];
  if (reason || error.status === 401) become(null, null, [], reason ?? "Sign in again.");
  return error;
}

function headers(token) {
  const fields = { "Content-Type": "application/json", "Rusd-Console": "1" };
  if (token) fields.Authorization = token;
  return fields;
}

async function ask(url, options) {
  try {
    return await fetch(url, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, 14, "The member does not answer.");
  }
}

function failure(status, answer) {
  // The gateway writes {code, message} for calls and {error: {…}} in streams.
  const error = typeof answer?.error === "object" && answer.error ? answer.error : answer;
  const message = error?.message ?? error?.error ?? `HTTP status ${status}`;
  return new ApiError(status, error?.code ?? error?.grpc_code ?? 2, String(message));
}

async function refusal(response) {
  const text = await response.text();
  try {
    return failure(response.status, JSON.parse(text));
  } catch {
    return new ApiError(response.status, 2, text.trim() || `HTTP status ${response.status}`);
  }
}

async function post(path, body, { token, signal } = {}) {
  const url = new URL(`../v3/${path}`, document.baseURI);
  const options = { method: "POST", headers: headers(token), body: JSON.stringify(body), signal };
  const response = await ask(url, options);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Calls etcd's JSON gateway: `call("kv/range", {key})`. Throws ApiError. */
export async function call(path, body = {}, signal = undefined) {
  const { token } = session;
  try {
    return await post(path, body, { token, signal });
  } catch (error) {
    throw error instanceof ApiError ? ended(error, token) : error;
  }
}

/**
 * Calls a stream of the gateway and passes each result to `onMessage`, which may return a promise
 * that holds back the next. Resolves at the end of the stream or when `signal` aborts.
 */
export async function stream(path, body, onMessage, signal) {
  const { token } = session;
  const url = new URL(`../v3/${path}`, document.baseURI);
  const options = { method: "POST", headers: headers(token), body: JSON.stringify(body), signal };
  try {
    const response = await ask(url, options);
    if (!response.ok) throw await refusal(response);
    await eachLine(response.body, async (line) => {
      const message = JSON.parse(line);
      if (message.error) throw failure(response.status, message);
      await onMessage(message.result);
    });
  } catch (error) {
    if (signal?.aborted) return;
    if (error instanceof ApiError) throw ended(error, token);
    if (error instanceof TypeError) throw new ApiError(0, 14, "The member closed the stream.");
    throw error;
  }
}

async function eachLine(body, onLine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = []; // of a line that has not ended: joined once
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const lines = done ? [""] : value.split("\n");
      for (const [index, piece] of lines.entries()) {
        parts.push(piece);
        if (index === lines.length - 1 && !done) break;
        const line = parts.join("");
        parts = [];
        if (line.trim()) await onLine(line);
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Milliseconds until a member that accepts connections but answers nothing is said not to answer. */
const READ_MS = 10_000;

/** Reads a page of the console: `data("cluster")`, `data("samples", {since})`. Throws ApiError. */
export async function data(name, params = {}) {
  const { token } = session;
  const url = new URL(`./api/${name}`, document.baseURI);
  for (const [key, value] of Object.entries(params)) url.searchParams.set(key, value);
  const fields = token ? { Authorization: token } : {};
  const response = await ask(url, { headers: fields, signal: AbortSignal.timeout(READ_MS) });
  if (!response.ok) throw ended(await refusal(response), token);
  return response.json();
}
