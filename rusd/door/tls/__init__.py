"""TLS of both ports: etcd's flags as contexts that follow their files.

    Config ─▶ client_tls ─▶ ClientTls.context ─▶ handshakes (asyncio)
                               └─ admit ─▶ client_certificates.py ─▶ revocation.py

- `context.py`              certificates, authorities, versions and cipher suites; read again when
                            the files change
- `client_certificates.py`  which verified clients are admitted: revocation, allowed names
- `revocation.py`           a certificate revocation list
- `self_signed.py`          the certificate of `--auto-tls` and of `--peer-auto-tls`
- `peer.py`                 the peer port: contexts for both directions, admission of members

Promises: changed certificates and keys are used from the next handshake on, without a restart; if
they cannot be used, the last good ones stay. A revocation list that cannot be read admits no
client. A session is resumed only under the authorities that verified it.

Not here: connections between members (`raft/transport`, which is given `PeerTls`), and the user
that authentication derives from a certificate.
"""
