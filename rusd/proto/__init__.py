"""etcd's protobuf messages, generated from `proto/` by `make proto`, and reading them.

    nested_txn   TxnRequest and TxnResponse nested deeper than the library reads
"""
