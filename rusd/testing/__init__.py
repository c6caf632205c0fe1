"""Servers for tests, in plain code and in any test framework.

    import rusd.testing

    with rusd.testing.Server() as server:
        connect(server.url)

    with rusd.testing.Cluster(3) as cluster:
        cluster.kill(cluster.leader())

pytest has fixtures of them (`etcd`, `etcd_cluster`), and `container` starts a member in a
container: docs/testing.md. This package is the public name of `rusd.cluster.testing`. Needs
`rusd[testing]`.
"""

from rusd.cluster.testing.accounts import Login
from rusd.cluster.testing.servers import Cluster, Server

__all__ = ["Cluster", "Login", "Server"]
