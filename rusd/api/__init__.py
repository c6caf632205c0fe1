"""etcd's services, one file each: request in, proposal or read, response out.

    Call, request ── service method ──┬── proposal ── apply on this member ──┐
                                      └── read index ── local store ─────────┴── encoded response

- `kv.py` etcdserverpb.KV; `range_stream.py` its streamed ranges, `validate.py` its request checks
- `watch.py` etcdserverpb.Watch
- `lease.py` etcdserverpb.Lease
- `cluster.py` etcdserverpb.Cluster; `strict_reconfig.py` the check before a membership change
- `maintenance.py` etcdserverpb.Maintenance; `downgrade.py` its Downgrade,
  `snapshot_stream.py` its Snapshot
- `auth.py` etcdserverpb.Auth; `password_work.py` bcrypt in threads, and how much of it may wait
- `lock.py` v3lockpb.Lock, `election.py` v3electionpb.Election; `contenders.py` what they share,
  `own_client.py` their calls of the services above
- `health.py` grpc.health.v1.Health
- `stream_task.py` a server stream that one task works on
- `concurrency_limit.py` a bound on long reads under way

A method gets a decoded request and a `Call`, and returns the encoded response or an awaitable of
it; a refusal is an `EtcdError` (see `rusd/rpc`). A write is answered from this member's own apply;
a read that is not serializable, after a read index; every request in etcd's order of checks.

Not here: sockets and HTTP (`door`), the checks that wrap every method (`rusd/rpc/guards`), applying
(`state`), Raft's messages.
"""
