"""Clients by other authors, installed from their registries, run beside a real etcd.

Each directory here is a client: a manifest with its version, and one script for each scenario.
(That of APISIX exists in Lua only: the script sends its requests.)
A script takes the address of a member from the environment variable ENDPOINT ("127.0.0.1:2379"),
checks what the client shows of the scenario, and prints a line for each check: `ok` or `failed`,
then what was checked. It leaves the member as it found it. The same script runs against etcd, and
the lines must be equal: nothing may fail on rusd that passes on etcd.

- `installation.py` how a client of each language is installed and run
- `test_clients.py` every script on rusd and on etcd

A new scenario is a script beside the others; a new client is a directory and a row in
`installation.py`. Sets up node, maven and python packages, so it is not part of `make test`:
`make test-clients`.
"""
