"""HTTP/1.1 on `--listen-metrics-urls`: health, version and metrics, by aiohttp."""

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from aiohttp import web

from rusd.api.probes import Probes, Reply

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpDoor:
    """The probes and the metrics page of one member."""

    def __init__(self, probes: Probes, metrics: Callable[[], bytes]) -> None:
        """`metrics` renders the Prometheus text format."""
        self._probes = probes
        self._metrics = metrics
        app = web.Application(middlewares=[_get_only])
        app.router.add_route("*", "/health", self._health)
        app.router.add_route("*", "/livez", self._live)
        app.router.add_route("*", "/livez/{check}", self._live)
        app.router.add_route("*", "/readyz", self._ready)
        app.router.add_route("*", "/readyz/{check}", self._ready)
        app.router.add_route("*", "/version", self._version)
        app.router.add_route("*", "/metrics", self._render)
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
    headers = {"Content-Type": reply.content_type, "X-Content-Type-Options": "nosniff"}
    return web.Response(status=reply.status, text=reply.body, headers=headers)


@web.middleware
async def _get_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every page is read only: other methods get 405, as etcd answers."""
    if request.method not in ("GET", "HEAD"):
        return web.Response(status=405, text="Method Not Allowed\n", headers={"Allow": "GET"})
    return await handler(request)
