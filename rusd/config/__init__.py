"""etcd's flags, ETCD_* variables and YAML file: parsed and checked once, frozen, typed."""
