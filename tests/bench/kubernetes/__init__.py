"""A Kubernetes control plane on three members of rusd and of etcd, taking turns.

`python -m tests.bench.kubernetes` (or `make bench-kubernetes`) starts in every round, for each
server in turn, three members with TLS and the control plane on them, gives it the same work, and
ends both. Each round begins with another server. The section "Kubernetes" of docs/benchmarks.md is
replaced by the result.

- `work`: what is done with the control plane and timed
- `report`: rounds, medians and ratios as Markdown
"""
