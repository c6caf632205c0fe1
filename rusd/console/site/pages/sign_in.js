// Sign-in against etcd's users.

import { ErrorNote, Field, html, refreshState, useMemberState, useSession, useState } from "../parts.js";
import { signIn } from "../api.js";

export default function Page({ go }) {
  const state = useMemberState();
  const session = useSession();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const onSubmit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await signIn(name, password);
      await refreshState();
      if (location.hash.startsWith("#/sign-in")) go("#/cluster");
    } catch (failure) {
      setError(failure);
    }
    setPassword("");
    setBusy(false);
  };
  if (state && !state.auth_enabled) {
    return html`<h1>Sign in</h1>
      <p>Authentication is off in this cluster: everyone who reaches this page may do everything.</p>`;
  }
  return html`<form class="card sign-in" onSubmit=${onSubmit}>
    <h1>Sign in</h1>
    ${session.reason && !error && html`<p class="note info" role="status">${session.reason}</p>`}
    <${Field} label="User">
      <input
        name="username"
        autocomplete="username"
        autocapitalize="off"
        spellcheck=${false}
        required
        value=${name}
        onInput=${(event) => setName(event.target.value)}
      />
    <//>
    <${Field} label="Password">
      <input
        name="password"
        type="password"
        autocomplete="current-password"
        value=${password}
        onInput=${(event) => setPassword(event.target.value)}
      />
    <//>
    <${ErrorNote} error=${error} />
    <button class="primary" disabled=${busy}>${busy ? "Signing in …" : "Sign in"}</button>
    <p class="dim">A user of etcd. The session ends when this tab is closed or loaded again.</p>
  </form>`;
}
