"""HTTP/2 (RFC 9113), the server's side, without a socket: bytes in, bytes out.

    bytes ─▶ connection.py ─▶ requests.py ─▶ Receiver (the call, `door/grpc` or `door/http`)
    bytes ◀─ outbound.py ◀─ complete, head, send, end ◀─ Stream ◀─┘

- `frames.py`         constants of the wire, and the frames that are sent
- `errors.py`         error codes; connection errors and stream errors
- `states.py`         the states of connections and streams as tables, a rule beside each row
- `connection.py`     reads frames; the frames and the life of the connection as a whole
- `requests.py`       header blocks, bodies, trailers and resets: from frames to receivers
- `stream_table.py`   the open streams, and the state of every stream number
- `stream.py`         one stream: state, windows, send queue
- `header_block.py`   HEADERS and CONTINUATION frames joined; padding
- `headers.py`        the rules for request headers, and a cache of repeated blocks
- `hpack_decoder.py`  HPACK: blocks in, fields out
- `inbound.py`        flow control of requests: windows, reservations, buffered bytes
- `outbound.py`       frames to be written: flow control of answers, streams in turn
- `settings.py`       SETTINGS of both sides
- `rate_limit.py`     token buckets for frames that do no work

The interfaces to other rooms (`Receiver`, `Ledger`) stand in `rusd/door/ports.py`.

Promises: nothing is raised for what a client sends; n bytes cost O(n) and the work of the calls
they complete; memory per connection is bounded (half a frame, one header block, the send queues,
twice `Limits.kept`).

Not here: gRPC, etcd, clocks (callers pass the time), sockets, asyncio. Push, priorities
(RFC 9113, 5.3) and CONNECT are not served.
"""

from rusd.door.h2.connection import Connection
from rusd.door.h2.frames import PREFACE
from rusd.door.h2.headers import Request, block
from rusd.door.h2.inbound import Limits
from rusd.door.h2.stream import Stream

__all__ = ["PREFACE", "Connection", "Limits", "Request", "Stream", "block"]
