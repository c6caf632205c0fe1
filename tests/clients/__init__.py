"""Clients by other authors, installed from their registries, run beside a real etcd.

Each directory here is a client: a manifest with its version, and programs. A program is a script,
or a suite that the language's own runner runs. It finds the address of a member in the environment
variable ENDPOINT ("127.0.0.1:2379"), those of all in ENDPOINTS, and in CONTROL the address of a
server that kills, starts, pauses and resumes members. A script prints a line for each check: `ok`
or `failed`, then what was checked. (The library of APISIX exists in Lua only: a script sends its
requests.) A program leaves the members as it found them. The same program runs on etcd: nothing may
fail on rusd that passes on etcd.

- `installation.py` how a client of each language is installed and run
- `results.py` reads the result of each test from what a runner prints
- `control.py` the server that kills and starts members
- `test_clients.py` every program on rusd and on etcd

A new scenario is a script beside the others, or a test in a suite; a new client is a directory and
a row in `installation.py`. Installs packages of Go, npm, Maven, crates and PyPI, so it is not part
of `make test`: `make test-clients`.
"""
