"""Lets a program in another language kill, start, pause and resume the members of a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cluster.local import LocalCluster


@contextmanager
def served(cluster: LocalCluster) -> Iterator[str]:
    """Address of a server that takes `POST /ACTION/INDEX`; `start` waits until all are healthy."""

    def start(index: int) -> None:
        cluster.start_all()
        cluster.wait_healthy()

    actions = {
        "kill": cluster.kill,
        "start": start,
        "pause": cluster.pause,
        "resume": cluster.resume,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            _, action, index = self.path.split("/")
            try:
                actions[action](int(index))
                self.send_response(200)
                text = b""
            except Exception as error:  # noqa: BLE001
                self.send_response(500)
                text = repr(error).encode()
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
