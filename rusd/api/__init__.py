"""etcd's services, one file each: validate, authorise, propose or read, shape the answer.

A service method gets a decoded request and a `Call`, and returns the encoded answer or an awaitable
of it; a refusal is raised (see `rusd/rpc/errors.py`). Writes become proposals (see `rusd/state`)
and are answered from this member's own apply; reads are answered from its own store, after a read
index unless they are serializable. This room knows no socket, no HTTP and no Raft message.
"""
