"""The door: bytes on sockets become calls of service methods, responses become bytes.

    listen/ ── accepted ─▶ (tls/) ─▶ protocol detection ─┬─ HTTP/2 ── grpc/ ── h2/ ─┬─ gRPC calls
                                                         │                          └─ pages ─┐
                                                         └─ HTTP/1.1 ── http/ ── pages ───────┘

- `listen/`           listening sockets, admission, which protocol a connection speaks
- `tls/`              the server side of TLS on the client port
- `h2/`               HTTP/2 without a socket
- `grpc/`             the client port as a whole, and gRPC calls over `h2/`
- `http/`             HTTP/1.1, and pages over both protocols
- `gateway/`          pages that call methods with JSON
- `caller.py`         the client of a connection: address, names of its certificate
- `closings.py`       log lines about the ends of connections
- `lateness.py`       timers that run late
- `ports.py`          the interfaces between these files, each defined once
- `time_budget.py`    the time that connections may take of a turn of the loop
- `memory_budget.py`  the memory that clients may make a member hold

A method is found by its path in the table of `rusd/rpc/methods.py`; what it means is decided there
and above. The door knows deadlines, message limits, statuses and flow control.

Promises:

- Whatever a client sends, only its own call or its own connection fails. A fault in a service is
  logged once, answered as UNKNOWN, and disturbs no other call.
- Memory is bounded, for a connection and for all of them: messages above the limit are refused,
  flow control holds back those without a reservation, a stream tells its service when its queue is
  full, and a client that does not read its answers is not read from.
- Time is bounded: a turn of the loop ends for connections when its time is used, and the rest is
  done in later turns, in fair order. n bytes cost O(n) and the work of the calls they complete.
- A stream handler hears `closed` exactly once and last, whether the service ended the stream, the
  client reset it, its deadline passed, its connection broke or the member stops.
- A client that goes away cancels only the response it waited for, never work that others share.

Not here: etcd's semantics, authentication, Raft, storage. No type of HTTP/2, asyncio or aiohttp
leaves this room. Fairness is per connection, not per host or user.
"""
