"""HTTP requests that are not gRPC, over HTTP/1.1 and HTTP/2: each is answered by a page.

    HTTP/1.1 ─┬─ whole.py ────────────┐
              └─ handler.py (aiohttp) ┼── router.py ── page (`rusd/rpc/pages.py`)
    HTTP/2 ──── http2.py ─────────────┘

- `router.py` the page of a path; statuses 404, 413, 408, 503 and 500
- `server.py` HTTP/1.1 listeners; `handler.py` requests; `connection.py` one connection, its limits
- `whole.py` requests that arrive whole, nearly all of HTTP/1.1
- `http2.py` requests on a connection that also carries gRPC
- `body.py` bodies of requests: limits of size, time and memory
- `access.py` which hosts and origins are let in
- `websocket.py` a page spoken with in messages
- `rendering.py` bodies rendered in the door's time, or once for all requests that wait for one

Promises: a page sees the same request over both protocols; a streamed response is produced only as
fast as its client reads; a page is cancelled when its client goes away; what a page raises ends its
own request alone.

Not here: what pages say. No type of aiohttp leaves this package.
"""
