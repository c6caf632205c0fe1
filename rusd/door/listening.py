"""Listening sockets for URLs."""

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence

from rusd.door.addresses import bindable

BACKLOG = 1024


class Listeners:
    """What one door listens on."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._paths: list[str] = []

    async def listen(
        self,
        urls: Sequence[str],
        factory: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        """Listen on `urls`, with `tls` for https and unixs; OSError if one cannot be had."""
        loop = asyncio.get_running_loop()
        for url in urls:
            context = tls if url.startswith(("https:", "unixs:")) else None
            for address in await loop.run_in_executor(None, bindable, url):
                if address.startswith("unix:"):
                    path = address.removeprefix("unix:")
                    server = await loop.create_unix_server(
                        factory, path, ssl=context, backlog=BACKLOG
                    )
                    self._paths.append(path)
                else:
                    host, _, port = address.rpartition(":")
                    server = await loop.create_server(
                        factory, host.strip("[]"), int(port), ssl=context, backlog=BACKLOG
                    )
                self._servers.append(server)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for path in self._paths:
            if os.path.exists(path):
                os.unlink(path)
        self._servers, self._paths = [], []
