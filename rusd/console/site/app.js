// The frame of the console: navigation by the hash of the address, one page at a time.

import {
  Announcements,
  Badge,
  ErrorNote,
  html,
  refreshState,
  render,
  useEffect,
  useErrorBoundary,
  useMemberState,
  usePolling,
  useSession,
  useState,
} from "./parts.js";
import { signOut } from "./api.js";

const PAGES = [
  { id: "cluster", title: "Cluster", load: () => import("./pages/cluster.js") },
  { id: "keys", title: "Keys", load: () => import("./pages/keys.js") },
  { id: "history", title: "Time travel", load: () => import("./pages/history.js") },
  { id: "live", title: "Live", load: () => import("./pages/live.js") },
  { id: "operations", title: "Operations", load: () => import("./pages/operations.js") },
];
const SIGN_IN = { id: "sign-in", title: "Sign in", load: () => import("./pages/sign_in.js") };

/** Milliseconds between two readings of the member's state. */
const STATE_MS = 5000;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { id: path || PAGES[0].id, params: new URLSearchParams(query) };
}

function go(hash) {
  location.hash = hash;
}

function useRoute() {
  const [current, setCurrent] = useState(route);
  useEffect(() => {
    const onChange = () => setCurrent(route());
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  return current;
}

const THEMES = { auto: "light", light: "dark", dark: "auto" };

/** Switches between the system's colours, light and dark; remembered by the browser. */
function ThemeButton() {
  const [theme, setTheme] = useState(() => {
    try {
      return localStorage.getItem("rusd-console-theme") ?? "auto";
    } catch {
      return "auto"; // storage is blocked
    }
  });
  useEffect(() => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    dispatchEvent(new Event("themechange"));
    try {
      localStorage.setItem("rusd-console-theme", theme);
    } catch {
      // forgotten at the next load
    }
  }, [theme]);
  const next = THEMES[theme] ?? "auto";
  const sign = { auto: "◐", light: "☀", dark: "☾" }[theme] ?? "◐";
  const label = `Colours: ${theme}. Switch to ${next}`;
  return html`<button
    type="button"
    class="quiet"
    aria-label=${label}
    title=${label}
    onClick=${() => setTheme(next)}
  >
    ${sign}
  </button>`;
}

function Header({ current }) {
  const state = useMemberState();
  const session = useSession();
  return html`<header class="top">
    <a class="brand" href="#/cluster">
      <img src="./icon.svg" alt="" width="20" height="20" />
      <strong>${state?.name ?? "rusd"}</strong>
      <span class="dim">${state ? `rusd ${state.version}` : ""}</span>
      ${state?.read_only && html`<${Badge} kind="info" text="read-only" />`}
    </a>
    <nav aria-label="Pages">
      ${PAGES.map(
        ({ id, title }) =>
          html`<a href=${`#/${id}`} aria-current=${id === current ? "page" : undefined}>${title}</a>`,
      )}
    </nav>
    <div class="account">
      ${session.token
        ? html`<span class="user" title="Signed in">${session.user}</span>
            <button type="button" class="quiet" onClick=${signOut}>Sign out</button>`
        : state?.auth_enabled && html`<a href="#/sign-in">Sign in</a>`}
      <${ThemeButton} />
    </div>
  </header>`;
}

function Main({ page, params }) {
  const [loaded, setLoaded] = useState({});
  const [failed, setFailed] = useState(null);
  useEffect(() => {
    setFailed(null);
    document.title = `${page.title} · rusd console`;
    if (loaded.id === page.id) return;
    page.load().then(
      (module) => setLoaded({ id: page.id, Page: module.default }),
      () => setFailed(new Error("This page of the console could not be loaded from the member.")),
    );
  }, [page]);
  if (failed) return html`<${ErrorNote} error=${failed} />`;
  if (loaded.id !== page.id) return html`<p class="loading">Loading …</p>`;
  return html`<${Guarded} key=${page.id} Page=${loaded.Page} params=${params} />`;
}

/** Shows an error of a page in its place; the navigation goes on. */
function Guarded({ Page, params }) {
  const [error, reset] = useErrorBoundary();
  if (!error) return html`<${Page} params=${params} go=${go} />`;
  return html`<${ErrorNote} error=${new Error(`This page failed: ${error.message}`)} />
    <p><button type="button" onClick=${reset}>Try again</button></p>`;
}

function App() {
  const { id, params } = useRoute();
  const session = useSession();
  const state = useMemberState();
  const { error } = usePolling(refreshState, STATE_MS);
  const asked = [...PAGES, SIGN_IN].find((page) => page.id === id) ?? PAGES[0];
  // In the place of the page, so that its address stays.
  const page = !session.token && (state?.auth_enabled || session.reason) ? SIGN_IN : asked;
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the page</a>
    <${Header} current=${asked.id} />
    <main id="main" tabindex="-1">
      ${error &&
      html`<${ErrorNote} error=${new Error(`${error.message} Values below may be old.`)} />`}
      ${(state || error) && html`<${Main} page=${page} params=${params} />`}
    </main>
    <${Announcements} />`;
}

/** Moves the focus, not the address, which names the page. */
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);
