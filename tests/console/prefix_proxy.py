"""A reverse proxy that serves a member below a path, as nginx does with `location /etcd/`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web

#: Headers that belong to one connection, and the host, which nginx replaces by the target's.
_OWN = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"}


@contextmanager
def prefix_proxy(target: str, prefix: str) -> Iterator[str]:
    """Serve `target` ("http://127.0.0.1:…") below `prefix`; yields the URL with the prefix."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = _Proxy(target, prefix)
    try:
        port = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(20)
        yield f"http://127.0.0.1:{port}{prefix}"
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


class _Proxy:
    def __init__(self, target: str, prefix: str) -> None:
        self._target = target
        self._prefix = prefix
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        application = web.Application()
        # Anything outside of the prefix is not found, as on a host with other services.
        application.router.add_route("*", self._prefix + "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _OWN}
        async with self._session.request(
            request.method,
            self._target + request.raw_path.removeprefix(self._prefix),
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as got:
            response = web.StreamResponse(status=got.status)
            for name, value in got.headers.items():
                if name.lower() not in _OWN:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for chunk in got.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
