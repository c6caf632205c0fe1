"""A real Kubernetes control plane on three rusd members (`make test-kubernetes`; needs Go).

`cluster.kubernetes` builds and runs it; kwok plays the kubelets. `RUSD_TEST_SUBJECT=PATH` runs the
same on another etcd.

- `test_checks`: what users of a cluster do, by kubectl
- `test_custom_resources`: what users define themselves
- `test_deletion`: namespaces, owners and collections
- `test_every_resource`: the API server's caches beside the store
- `test_storage`: lists, watches and compaction, by the API
- `test_failures`: members killed, paused, restarted, compacted and defragmented while a deployment
  rolls (`rollout`); `traffic`: what is written and watched meanwhile, and its verdict
- `test_broken_links_and_disks`: the same with members cut off, replaced or on a full disk
- `test_snapshots`: backups of one member while a deployment rolls
- `store`: the members, asked by etcdctl and rusdctl; `metrics`: what the API server counts
"""
