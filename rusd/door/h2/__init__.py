"""HTTP/2 (RFC 9113), the server's side, without a socket: bytes in and out.

    bytes ─▶ Connection.receive ─▶ opening, data, aborted ─▶ the gRPC layer (`door/grpc`)
    bytes ◀─ Connection.take ◀─ complete, head, send, end ◀─ Stream

- `frames.py`      the wire's constants, and the frames this side sends
- `errors.py`      error codes; what ends a connection and what ends one stream
- `hpack_decoder.py`   HPACK: blocks in, fields out
- `headers.py`     what fields mean, with a memory for repeated blocks; the rules for requests
- `allowance.py`   how much a peer may ask for that costs us and brings nobody anything
- `stream.py`      one exchange: its windows, its queue
- `inbound.py`     what the peer may send: windows, and the bytes of bodies that are kept
- `outbound.py`    what is to be written: flow control, fair turns between streams
- `connection.py`  what has been read: every frame's rules

Nothing here knows gRPC, etcd, the clock (callers give the time) or asyncio. Memory per connection
is bounded whatever the peer does: half a frame, one header block, what its streams queued; and the
receivers of streams decide how much of a body they keep.
"""

from rusd.door.h2.connection import Connection
from rusd.door.h2.frames import PREFACE
from rusd.door.h2.headers import Request, block
from rusd.door.h2.inbound import Ledger, Limits
from rusd.door.h2.stream import Receiver, Stream

__all__ = ["PREFACE", "Connection", "Ledger", "Limits", "Receiver", "Request", "Stream", "block"]
