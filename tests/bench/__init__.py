"""Benchmarks: rusd beside real etcd, on the same machine, in the same run.

`python -m tests.bench` (or `make bench`) starts one member and three members of both servers, with
the same flags, gives each the same load in turn, repeats that, and takes medians. Shared machines
are noisy: the ratio within one run says more than any number in it. Nothing here is a test and
nothing is asserted of time; but a load whose calls fail, or answer less than they should, ends its
part: a fast refusal is no result.

How it is divided:

- `subjects` is a running cluster that can be asked what it cost (`costs`); `plan` says how long
  and how often; `rows` holds what was measured, `report` makes the page of it.
- `load` drives h2load (C, never the bottleneck) for unary calls; `calls` lists those loads and
  `unary` runs them, the servers taking turns.
- `wire` is a small HTTP/2 client for what h2load cannot do: streams, paced calls, many keys.
  `pipeline`, `watches`, `leases`, `fill` and `paced_load` use it.
- `apiserver` is the transactions of the Kubernetes API server.
- `authenticated` and `peers` are puts (and ranges) of a user, and puts with TLS between members;
  `archive` is puts that the leader archives.
- `million` fills a large store: memory, restart; `restores` makes data directories of its
  snapshots; `long_operations` is how long other clients wait while such a store is read, compacted,
  copied or rewritten.
- `kubernetes` is a benchmark of its own, of a control plane on both servers; `machine` describes
  where either ran.

Data passes one way: a part starts its clusters, measures, and returns `Row`s; `__main__` collects
them and `report` renders them together with `notes.md`, which is written by hand.
"""
