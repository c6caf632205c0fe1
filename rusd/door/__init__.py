"""The door: bytes on sockets become service calls, answers become bytes.

What a call means is decided behind `rusd/rpc`; the door knows deadlines, message limits,
statuses and back-pressure, and nothing of etcd. No type of HTTP/2 or aiohttp leaves this room.

    socket ─ sniffer.py ─┬─ HTTP/2 ── channel.py ── h2/ ─┬─ calls.py     one message, one answer
                         │                               ├─ stream.py    messages both ways
                         │                               └─ pagecall.py  what is not gRPC
                         └─ HTTP/1.1 ── http_door.py

- `grpc_door.py` the client port as a whole: listeners, connections, the end of them all;
- `h2/` HTTP/2 without a socket; `channel.py` gives it one, and time;
- `opening.py` a request's headers, `messages.py` and `gzipped.py` gRPC's framing, `status.py` how
  calls end;
- `budget.py` the time that clients may take of a turn of the loop, `memory.py` the bytes that they
  have a member keep;
- `deadlines.py`, `keepalive.py` what becomes of a client that waits, and of one that is silent;
- `addresses.py`, `listening.py` from URLs to sockets.

Promises:

- Whatever a client sends, only its own call fails, or its own connection; a bug in a service is
  logged once, answered as UNKNOWN, and disturbs no other call.
- Memory is bounded, for a connection and for all of them: a message above the limit is refused,
  flow control holds back one for which there is no room yet, a stream tells its service when its
  queue is full, and a client that asks without reading the answers is not read from.
- Time is bounded: a turn of the loop ends for clients when its time is up, and what is left is done
  in later turns, in fair order; n bytes cost O(n) and the work of the calls they complete.
- A handler hears `closed` exactly once and last, whether the service ended the stream, the client
  cancelled it, its deadline passed, its connection broke or the member stops.
- A client that goes away cancels only the answer it waited for, never what others share.
"""
