"""The HTTP pages of a member: health, version and metrics, in etcd's words.

- `/health` alarms, leader, a linearizable read; `?serializable=true`, `?exclude=NOSPACE`
- `/livez`, `/readyz` checks one by one, `/readyz/<check>` one alone; `?verbose`, `?exclude=<check>`
- `/version`
- `/metrics` Prometheus's text format 0.0.4

All but `/metrics` answer GET only; HEAD is refused too, as in etcd.
"""

import json
from collections.abc import Callable, Mapping

from rusd.door.http.rendering import SharedRendering
from rusd.door.http.router import NOSNIFF, NOT_FOUND, TEXT, not_allowed
from rusd.door.time_budget import TimeBudget
from rusd.observe.health import HealthChecks
from rusd.rpc.pages import Page, PageRequest, PageResponse

_JSON = ("Content-Type", "application/json")
_METRICS = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")


def member_pages(
    checks: HealthChecks, metrics: Callable[[], bytes], budget: TimeBudget
) -> Mapping[str, Page]:
    """Path -> page. `metrics` renders /metrics, within `budget`."""
    probes = _Probes(checks)
    rendering = SharedRendering(metrics, budget)

    async def render(request: PageRequest) -> PageResponse:
        return PageResponse(200, [_METRICS], await rendering.rendered())

    return {
        "/health": probes.health,
        "/livez": probes.check,
        "/livez/": probes.check,
        "/readyz": probes.check,
        "/readyz/": probes.check,
        "/version": probes.version,
        "/metrics": render,
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
        if len(check) > 1 or check == [""]:
            return NOT_FOUND
        if request.method != "GET":
            return not_allowed("GET")
        run = self._checks.live if probe == "livez" else self._checks.ready
        results = await run(check[0] if check else "", request.query.get("exclude", []))
        if results is None:
            return NOT_FOUND
        lines = "".join(
            f"[-]{name} failed: {error}\n" if error else f"[+]{name} ok\n"
            for name, error in results
        )
        if any(result.error for result in results):
            return PageResponse(503, [TEXT, NOSNIFF], f"{lines}\n".encode())
        shown = lines if "verbose" in request.query else ""
        return PageResponse(200, [TEXT, NOSNIFF], f"{shown}ok\n".encode())


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
