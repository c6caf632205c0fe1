"""Runs several members. Installed, this package is `rusd.cluster`; in the tree, `cluster`.

Starts members as processes by their command line, and calls them as a client. The tests of a whole
cluster, the benchmarks and `make cluster` use it. A test of another project can use it for a
temporary cluster:

    from rusd.cluster.local import LocalCluster

    with LocalCluster(3) as cluster:
        connect(cluster.endpoints)
        cluster.kill(cluster.leader())

Guarantees: members are healthy when `start` returns; every process is ended and every temporary
directory removed, also when the launching process is killed; errors show the end of the member's
log.

Does not know the inside of the server. Nothing here imports `rusd`, so any command that takes
etcd's flags can be started (`binary=["etcd"]`), and a test may load any etcd client library beside
it (a process can hold only one copy of etcd's protobuf messages).

Files:
    local         the cluster; `command`: `python -m cluster.local`, a cluster until Ctrl-C
    process       members and other servers as processes; `guard` ends processes whose launcher died
    ports         port numbers that stay claimed while a member is stopped
    wire          two calls to a member over gRPC without generated messages
    tls           how members serve TLS; `certificates`: an authority for clusters under test
    testing       servers for tests, and the pytest plugin (`rusd.testing`)
    compose_tls   certificates and variables for docker-compose.tls.yml
    healthcheck   the health check of the container image
    image         what the container image consists of
    kubernetes    a Kubernetes control plane on a cluster
    kind          Kubernetes in Docker on members in containers
    chaos         injects faults into a cluster and checks the recorded history
"""
