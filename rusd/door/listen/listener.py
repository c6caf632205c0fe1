"""Listening sockets for URLs, with TLS where a URL asks for it.

URL ─▶ Bindings ─┬─ http, unix ────────────────────┬─▶ admission.py ─▶ a protocol
                 └─ https, unixs: tls_listener.py ─┘

A URL can be bound long before its connections are accepted: until then they wait in the queue of
the kernel, and the client waits for the first answer.
"""

import errno
import ssl
from collections.abc import Sequence
from typing import Self

from rusd.base.sockets import Bound, Factory, Listener
from rusd.base.supervised import Fail, Tasks
from rusd.base.urls import Url
from rusd.door.listen.admission import AdmissionControl, first_reserved
from rusd.door.listen.tls_listener import TlsListener
from rusd.door.tls.context import ClientTls

#: Seconds for a TLS handshake, as in etcd.
HANDSHAKE_SECONDS = 10.0

#: TLS for https and unixs; a plain context admits every client that it verifies.
Tls = ClientTls | ssl.SSLContext | None


class Bindings:
    """The bound sockets of the URLs of one door, until it takes them to accept on."""

    def __init__(self, urls: Sequence[str], *, reuse_port: bool = False) -> None:
        """Bind every address of `urls`. An http and an https URL of one address share it.

        `reuse_port`: see `Bound`. Raises OSError, with the URL in its text if one is not available;
        then none is bound.
        """
        self._bound: list[tuple[list[Url], Bound]] = []
        schemes: dict[tuple[str, int], list[Url]] = {}
        for url in map(Url, urls):
            schemes.setdefault(url.address, []).append(url)
        if schemes:
            first_reserved()
        try:
            for same in schemes.values():
                self._bound.append((same, Bound(same[0], reuse_port=reuse_port)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __bool__(self) -> bool:
        return bool(self._bound)

    def take(self) -> tuple[list[Url], Bound]:
        """Return one address and its URLs, which the caller closes from then on."""
        return self._bound.pop(0)

    def close(self) -> None:
        """Close the sockets that were not taken."""
        while self._bound:
            self.take()[1].close()


class Listeners:
    """The listeners of one door."""

    def __init__(self, fail: Fail) -> None:
        """`fail` gets the exception of a background task, which ends the member."""
        self._tasks = Tasks(fail)
        self._listening: list[Listener | TlsListener] = []

    async def listen(
        self, urls: Sequence[str] | Bindings, factory: Factory, tls: Tls = None
    ) -> None:
        """Accept on every address of `urls`, with `tls` for https and unixs; binds them first if
        they are not bound.

        Raises OSError with the URL in its text if one is not available; then none is listened on.
        """
        new: list[Listener | TlsListener] = []
        try:
            with urls if isinstance(urls, Bindings) else Bindings(urls) as bindings:
                while bindings:
                    await self._listen(new, *bindings.take(), factory, tls)
        except BaseException:
            for each in new:
                each.close()
            raise
        self._listening += new

    def close(self) -> None:
        """Accept no more connections; those accepted continue. Socket files are removed."""
        for each in self._listening:
            each.close()
        self._listening = []

    async def _listen(
        self,
        listening: list[Listener | TlsListener],
        urls: list[Url],
        bound: Bound,
        factory: Factory,
        tls: Tls,
    ) -> None:
        """`urls` have one address, which is `bound`; adds its listener to `listening`."""
        secure = [url for url in urls if url.is_secure]
        if secure and tls is None:
            bound.close()
            raise OSError(errno.EINVAL, f"cannot listen on {secure[0]}: no certificate")
        context = tls.context if isinstance(tls, ClientTls) else tls
        plain_gate = AdmissionControl(factory, None)
        tls_gate = AdmissionControl(factory, tls if isinstance(tls, ClientTls) else None)
        if secure and context is not None:
            plain = plain_gate if len(secure) < len(urls) else None
            listening.append(
                TlsListener(bound, plain, tls_gate, context, HANDSHAKE_SECONDS, self._tasks)
            )
            return
        listener = Listener()
        listening.append(listener)
        await listener.serve(bound, plain_gate)
