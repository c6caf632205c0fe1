"""Servers for tests. Its public name is `rusd.testing`; docs/testing.md shows the use.

`Server` and `Cluster` are the launcher's cluster with what a test needs besides: addresses in the
forms that clients take, TLS and authentication by a word, partitions, and `reset`, which gives the
next test an empty store without a new process. The pytest plugin makes fixtures of them.

Guarantees: as those of the launcher; after `reset` every member runs, follows one leader, and has
no key, lease, alarm, user or role. Revisions go on. Nothing here imports the server.

Files:
    servers       Server and Cluster
    accounts      enables authentication with one user
    wipe          empties a store by etcd's own calls
    plugin        fixtures and options for pytest (imports nothing but pytest when it is loaded)
    logs          the part of the members' logs that belongs to one test
    container     a member in a container
"""
