"""HTTP/1.1 on `--listen-metrics-urls`: health, version and metrics, by aiohttp."""

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from aiohttp import web

from rusd.api.probes import NOT_ALLOWED, NOT_FOUND, Probes, Reply

Handler = Callable[[web.Request], Awaitable[web.Response]]


class HttpDoor:
    """The probes and the metrics page of one member."""

    def __init__(self, probes: Probes, metrics: Callable[[], bytes]) -> None:
        """`metrics` renders the Prometheus text format."""
        self._probes = probes
        self._metrics = metrics
        app = web.Application()
        app.on_response_prepare.append(_anonymous)
        pages: dict[str, Handler] = {
            "/health": self._health,
            "/livez": self._live,
            "/livez/{check}": self._live,
            "/readyz": self._ready,
            "/readyz/{check}": self._ready,
            "/version": self._version,
        }
        for path, page in pages.items():
            app.router.add_route("GET", path, page)
            app.router.add_route("*", path, _not_allowed)
        app.router.add_route("*", "/metrics", self._render)
        app.router.add_route("*", "/{page:.*}", _not_found)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)

    async def start(self, urls: Sequence[str]) -> None:
        """Listen; OSError if an address is taken."""
        await self._runner.setup()
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme in ("unix", "unixs"):
                await web.UnixSite(self._runner, parts.netloc + parts.path).start()
            else:
                await web.TCPSite(self._runner, parts.hostname, parts.port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        serializable = request.query.get("serializable") == "true"
        excluded = request.query.getall("exclude", [])
        return _response(await self._probes.health(excluded, serializable))

    async def _live(self, request: web.Request) -> web.Response:
        return await self._probe(request, self._probes.live)

    async def _ready(self, request: web.Request) -> web.Response:
        return await self._probe(request, self._probes.ready)

    async def _probe(
        self, request: web.Request, probe: Callable[[str, list[str], bool], Awaitable[Reply]]
    ) -> web.Response:
        only = request.match_info.get("check", "")
        excluded = request.query.getall("exclude", [])
        return _response(await probe(only, excluded, "verbose" in request.query))

    async def _version(self, request: web.Request) -> web.Response:
        return _response(self._probes.version())

    async def _render(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": reply.content_type}
    if reply.strict:
        headers["X-Content-Type-Options"] = "nosniff"
    return web.Response(status=reply.status, body=reply.body.encode(), headers=headers)


async def _not_found(request: web.Request) -> web.Response:
    return _response(NOT_FOUND)


async def _not_allowed(request: web.Request) -> web.Response:
    """Every page is read only, and HEAD is no GET, as in etcd."""
    response = _response(NOT_ALLOWED)
    response.headers["Allow"] = "GET"
    return response


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Which library answers is nobody's business."""
    response.headers.pop("Server", None)
