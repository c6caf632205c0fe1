"""The seam between door and services: methods, calls, etcd's errors, guards."""
