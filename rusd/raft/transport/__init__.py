"""Connections and frames between members.

- `frames.py`: every frame as a type with its bounds; bytes to frames and back
- `connection.py`: one TCP connection: whole frames off its bytes, and which may come first
- `peers.py`: all connections: dialling, listening, the one of each member that counts
- `dialling.py`: which of two members dials, and which of two connections counts
- `tls.py`: what it needs for TLS between members, and dialling with it
- `tls_listener.py`: https peer URLs, until the TLS handshake is complete
- `dial_back.py`: whether an accepted connection is the member's that it claims to be
- `unconfirmed.py`: the limit of accepted connections that are not confirmed
- `handshake.py`: whether the process that said hello may stand for its member
- `incarnations.py`: the record of data directories and starts, which decides that
- `requests.py`: requests between members on behalf of the rooms above
- `query.py`: one request to a peer port before any hello; `member_query.py`: for the member list

Bytes pass `Connection` and become frames; the frames of a confirmed connection go to `Peers`, and
from there to the driver. A frame out is packed by its sender and written by `Peers.send`.

Promises: over https nothing of a peer is read before its certificate is accepted. A connection
counts as a member's only if this member dialled its address, if the owner of that address has
confirmed it, or if nobody can be asked there and a verified certificate for that host was shown.
Bytes that no member sends end their connection and nothing else. Everything that waits is bounded
(`docs/limits.md`).

The room knows nothing of Raft's rules and keeps no log: what a frame does is decided in `core/`.
"""
