"""Listening sockets for URLs, with TLS where a URL asks for it.

URL ─▶ base/sockets.py ─┬─ http, unix ────────────────────┬─▶ admission.py ─▶ a protocol
                        └─ https, unixs: tls_listener.py ─┘
"""

import errno
import ssl
from collections.abc import Sequence

from rusd.base.sockets import Bound, Factory, Listener
from rusd.base.supervised import Fail, Tasks
from rusd.base.urls import Url
from rusd.door.listen.admission import AdmissionControl
from rusd.door.listen.tls_listener import TlsListener
from rusd.door.tls.context import ClientTls

#: Seconds for a TLS handshake, as in etcd.
HANDSHAKE_SECONDS = 10.0

#: TLS for https and unixs; a plain context admits every client that it verifies.
Tls = ClientTls | ssl.SSLContext | None


class Listeners:
    """The listeners of one door."""

    def __init__(self, fail: Fail, *, reuse_port: bool = False) -> None:
        """`fail` gets the exception of a background task, which ends the member. `reuse_port`: see
        `Bound`.
        """
        self._reuse_port = reuse_port
        self._tasks = Tasks(fail)
        self._listening: list[Listener | TlsListener] = []

    async def listen(self, urls: Sequence[str], factory: Factory, tls: Tls = None) -> None:
        """Listen on every address of `urls`, with `tls` for https and unixs.

        An http and an https URL of one address share it.

        Raises OSError with the URL in its text if one is not available; then none is listened on.
        """
        new: list[Listener | TlsListener] = []
        schemes: dict[tuple[str, int], list[Url]] = {}
        for url in map(Url, urls):
            schemes.setdefault(url.address, []).append(url)
        try:
            for same in schemes.values():
                await self._listen(new, same, factory, tls)
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
        self, listening: list[Listener | TlsListener], urls: list[Url], factory: Factory, tls: Tls
    ) -> None:
        """`urls` have one address; adds its listener to `listening`."""
        secure = [url for url in urls if url.is_secure]
        if secure and tls is None:
            raise OSError(errno.EINVAL, f"cannot listen on {secure[0]}: no certificate")
        context = tls.context if isinstance(tls, ClientTls) else tls
        plain_gate = AdmissionControl(factory, None)
        tls_gate = AdmissionControl(factory, tls if isinstance(tls, ClientTls) else None)
        bound = Bound(urls[0], reuse_port=self._reuse_port)
        if secure and context is not None:
            plain = plain_gate if len(secure) < len(urls) else None
            listening.append(
                TlsListener(bound, plain, tls_gate, context, HANDSHAKE_SECONDS, self._tasks)
            )
            return
        listener = Listener()
        listening.append(listener)
        await listener.serve(bound, plain_gate)
