"""etcd's own end-to-end suites against rusd (`make test-compat`).

The suites `common`, `e2e` and `robustness` of the Go module `go.etcd.io/etcd/tests/v3` start the
program named `etcd` of a directory, and drive it with etcdctl and client/v3. Here that program is a
script that runs rusd. Nothing of etcd is in this tree: the Makefile gets and compiles it below
`build/`.

    build.py        compiles the suites, with their time limits multiplied
    cases.py        runs test functions, each in a network, process and mount namespace of its own
    outcome.py      leaves (innermost sub-tests) and their results, from the events of `test2json`
    expected.py     compares results with `expected/VERSION.toml`: fails in either direction
    page.py         writes docs/compatibility.md from the results of the last runs
    robustness/     etcd's suite of faults and validation
    go/             our files among those of the suites: what they read, faults of peer connections
    __main__.py     the command

Results are kept in `build/etcd-VERSION/results/`: one JSON file a suite, one log a function.

Not covered: the suite `integration` (it embeds etcd's Go packages).
"""
