"""TLS contexts from etcd's flags, and which client certificates are admitted."""
