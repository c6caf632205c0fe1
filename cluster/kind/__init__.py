"""Kubernetes in Docker (kind) with rusd as its etcd, by one command.

    python -m cluster.kind up        # `make kind`
    python -m cluster.kind down      # `make kind-down`

- `tools`: the programs that are called (docker, compose, kind, kubectl), and what to do without one
- `store`: three members in containers, or the URLs of a cluster that runs already
- `config`: kind-config.yaml for another store
- `command`, `__main__`: the command line

Nothing of kind is in the tree; docs/kubernetes.md tells what it does.
"""
