"""The door: bytes on sockets become service calls, answers become bytes.

What a call means is decided behind `rusd/api/seam.py`; the door knows deadlines, message limits,
statuses and back-pressure, and nothing of etcd. No type of grpcio or aiohttp leaves this room.

- `grpc_door.py` serves gRPC on the client URLs through grpcio (a native door is to replace it);
- `stream.py` is the buffer of one open stream, between a service's callbacks and the socket;
- `addresses.py` makes sure that every address a URL stands for is ours before it is bound;
- `http_door.py` serves HTTP/1.1 on the metrics URLs.

Promises:

- Whatever a client sends, only its own call fails; a bug in a service is logged once, answered as
  UNKNOWN, and disturbs no other call.
- Memory is bounded: a message above the limit is refused, a stream tells its service when its
  buffer is full, and a client that asks without reading the answers is not read from.
- A handler hears `closed` exactly once and last, whether the service ended the stream, the client
  cancelled it, its deadline passed, its connection broke or the member stops.
- A client that goes away cancels only the answer it waited for, never what others share.
"""
