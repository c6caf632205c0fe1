"""Running members together. Installed, this package is `rusd.cluster`; in the tree, `cluster`.

This room starts rusd members as their users do: as processes or containers, by their command line,
and talks to them as a client. It is the ground under the tests of a whole cluster, the benchmarks
and `make cluster`, and it serves any etcd user who needs a throw-away cluster in a test:

    from rusd.cluster.local import LocalCluster

    with LocalCluster(3) as cluster:
        connect(cluster.endpoints)
        cluster.kill(cluster.leader())

What it promises: members that answer before `start` returns; every process ended and every
temporary directory removed, also when the launching process is killed; an error that shows the end
of the member's log.

What it refuses to know: the inside of the server. Nothing here imports `rusd`, so any command that
takes etcd's flags can be started (`binary=["etcd"]`), and a test may load any etcd client library
beside it (two copies of etcd's protobuf messages cannot live in one process).

How it is divided: `ports` claims port numbers, `guard` ends processes whose launcher died,
`process` is one member, `wire` asks a member two questions over raw gRPC, `local` is the cluster
and the command `python -m cluster.local`.
"""
