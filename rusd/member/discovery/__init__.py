"""Finds the members of a new cluster without `--initial-cluster`.

    Config -> discovered() -> Config with initial_cluster and initial_cluster_token

- `discovery.py`: chooses one of the two at a first start
- `registry.py`: another etcd, in which the members register (`--discovery-endpoints`)
- `registry_client.py`: the few calls for that, over the JSON gateway
- `srv.py`: SRV records (`--discovery-srv`)

Used before anything else of the member exists, and never again: later starts ignore the flags. This
room does not check that the members found are the ones a cluster should have.
"""
