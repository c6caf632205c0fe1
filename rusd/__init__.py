"""rusd: an etcd v3 server in Python, replicated with PySyncObj and stored in RocksDB."""

__version__ = "0.1.0"

#: The etcd release whose API and behaviour rusd serves. Clients parse it (kube-apiserver turns
#: watch progress requests off below 3.5.13; kubeadm refuses external etcd below 3.5.24).
ETCD_VERSION = "3.7.3"
#: The storage schema whose meaning the store follows, as etcd reports it
#: before the cluster has a version.
STORAGE_VERSION = "3.7.0"
