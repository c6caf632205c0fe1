"""Programs that keep their state in etcd, run on rusd and, as the control, on etcd.

Each test is a thing that a user of the program does. Members are processes, three of them; the
same tests run on both servers.

- `postgres.py` a PostgreSQL cluster that Patroni runs; `patroni/` says which version
- `test_patroni.py` bootstrap, settings, switchover, failover, members that die or restart, users
- `test_coredns.py` names of CoreDNS's plugin etcd
- `servers.py` rusd and etcd, as parameters

What each needs: `make test-users`. Client libraries are in `tests/clients/`, with the requests of
OpenStack's services and of APISIX among them.
"""
