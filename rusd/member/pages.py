"""The HTTP pages of a member: health, version and metrics, in etcd's words.

- `/health` alarms, leader, a linearizable read; `?serializable=true`, `?exclude=NOSPACE`
- `/livez`, `/readyz` checks one by one, `/readyz/<check>` alone; `?verbose`, `?exclude=<check>`;
  `backup` and `archive` are shown by `/readyz?verbose`, and decide `/readyz/<check>` alone
- `/version`
- `/metrics` Prometheus's text format 0.0.4
- `/debug/vars` command line, limit of file descriptors and state of Raft; with `--enable-pprof`
  `/debug/stacks`, what every thread and task is doing; both on the client port only

All but `/metrics` answer GET only; HEAD is refused too, as in etcd.
"""

import json
import resource
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

from rusd.door.http.rendering import SharedRendering
from rusd.door.http.router import NOSNIFF, TEXT, not_allowed
from rusd.door.time_budget import TimeBudget
from rusd.observe.health import HealthChecks
from rusd.raft.interface import Indexes, Role
from rusd.rpc.pages import Page, PageRequest, PageResponse

_JSON = ("Content-Type", "application/json")
_JSON_UTF8 = ("Content-Type", "application/json; charset=utf-8")
_METRICS = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")


def member_pages(
    checks: HealthChecks, metrics: Callable[[], bytes], budget: TimeBudget
) -> Mapping[str, Page]:
    """Return path -> page. `metrics` renders /metrics, within `budget`."""
    probes = _Probes(checks)
    rendering = SharedRendering(metrics, budget)

    async def render(request: PageRequest) -> PageResponse:
        return PageResponse(200, [_METRICS], await rendering.rendered())

    return {
        "/health": probes.health,
        **{path: probes.check for path in checks.paths},
        "/version": probes.version,
        "/metrics": render,
    }


class Node(Role, Indexes, Protocol):
    """The part of the Raft node that this room uses."""


def debug_pages(node: Node, stacks: Callable[[], bytes] | None) -> Mapping[str, Page]:
    """Return path -> page, for the client port only. `stacks`: None without `--enable-pprof`."""

    async def variables(request: PageRequest) -> PageResponse:
        if request.method != "GET":
            return not_allowed("GET")
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        shown = {
            "cmdline": sys.argv,
            "file_descriptor_limit": limit,
            "raft.status": _raft_status(node),
        }
        lines = ",\n".join(f'"{name}": {_json(value).decode()}' for name, value in shown.items())
        return PageResponse(200, [_JSON_UTF8], f"{{\n{lines}\n}}\n".encode())

    async def threads(request: PageRequest) -> PageResponse:
        if request.method != "GET":
            return not_allowed("GET")
        assert stacks is not None
        return PageResponse(200, [TEXT, NOSNIFF], stacks())

    pages: dict[str, Page] = {"/debug/vars": variables}
    return pages if stacks is None else {**pages, "/debug/stacks": threads}


def _raft_status(node: Node) -> dict[str, object]:
    """The Raft status as etcd's /debug/vars has it, without the progress of the other members."""
    if node.is_leader:
        state = "StateLeader"
    else:
        state = "StateFollower" if node.leader_id else "StateCandidate"
    return {
        "id": f"{node.member_id:x}",
        "term": node.term,
        "commit": node.commit_index,
        "lead": f"{node.leader_id:x}",
        "raftState": state,
        "applied": node.applied_index,
    }


class _Probes:
    """Health checks over HTTP."""

    def __init__(self, checks: HealthChecks) -> None:
        self._checks = checks

    async def health(self, request: PageRequest) -> PageResponse:
        if request.method != "GET":
            return not_allowed("GET")
        serializable = request.query.get("serializable", [""])[0] == "true"
        reason = await self._checks.health(request.query.get("exclude", []), serializable)
        text = _json({"health": "false" if reason else "true", "reason": reason})
        if reason:
            return PageResponse(503, [TEXT, NOSNIFF], text + b"\n")
        return PageResponse(200, [TEXT], text)

    async def version(self, request: PageRequest) -> PageResponse:
        if request.method != "GET":
            return not_allowed("GET")
        return PageResponse(200, [_JSON], _json(self._checks.versions()))

    async def check(self, request: PageRequest) -> PageResponse:
        _, probe, *check = request.path.split("/")
        if request.method != "GET":
            return not_allowed("GET")
        run = self._checks.live if probe == "livez" else self._checks.ready
        results = await run(check[0] if check else "", request.query.get("exclude", []))
        lines = "".join(
            f"[-]{name} failed: {error}\n" if error else f"[+]{name} ok\n"
            for name, error, _ in results
        )
        # (A check that is asked for by its name has nothing else to say.)
        if any(result.error and (check or not result.advisory) for result in results):
            return PageResponse(503, [TEXT, NOSNIFF], f"{lines}\n".encode())
        shown = lines if "verbose" in request.query else ""
        return PageResponse(200, [TEXT, NOSNIFF], f"{shown}ok\n".encode())


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
