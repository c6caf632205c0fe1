"""gRPC over HTTP/2: the client port, its connections and their calls.

    server.py ── makes ─▶ connection.py ─▶ h2/ ─▶ dispatch.py ─┬─ unary.py      one message each way
                                                               ├─ streaming.py  messages both ways
                                                               └─ door/http     not gRPC

- `server.py`           the client port: listeners, all connections, the orderly end
- `door_state.py`       what all connections share; what calls need of their connection
- `connection.py`       one connection: socket, HTTP/2 core, its share of the loop's time
- `timeouts.py`         unfinished frames, clients that do not read, clients that are gone
- `memory_usage.py`     the memory one connection holds, and whether its client moves it
- `answer_queue.py`     long answers that wait until their client has read earlier ones
- `dispatch.py`         from a request's headers to the object that receives its stream
- `request_headers.py`  a request's headers: method, deadline, encoding, metadata, or a refusal
- `call_states.py`      the states of calls
- `unary.py`, `streaming.py`  the two kinds of calls
- `messages.py`, `compression.py`  length-prefixed messages, gzip
- `status.py`           header blocks of responses, and how calls end
- `deadlines.py`        deadlines of all calls in one timer
- `keepalive.py`        pings in both directions

Promises: those of `rusd/door`; errors have the codes and texts of grpc-go, since clients compare
them. A call needs no task and no timer of its own.

Not here: what methods do (`rusd/api`), frames and flow control (`h2/`), sockets and TLS (`listen/`,
`tls/`). gRPC's reflection, retries, health watching and message compression of responses are not
served by this room.
"""
