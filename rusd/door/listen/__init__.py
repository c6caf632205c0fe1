"""Listening sockets: from URLs to admitted connections whose protocol is known.

    URL ─▶ listener.py ─▶ (tls_listener.py, TLS) ─▶ admission.py ─▶ protocol_detection.py

- `listener.py`            sockets for URLs, with TLS where a URL asks for it
- `tls_listener.py`        TLS, alone or beside plaintext at one address; handshakes a few a turn
- `admission.py`           is a descriptor left, and does the certificate admit the client
- `protocol_detection.py`  HTTP/2 or HTTP/1.1, by the first bytes

Promises: descriptors stay reserved for the store and the peers; a connection that sends nothing is
closed after 10 seconds, a TLS handshake ends in 10 seconds; all URLs are listened on, or none.

Not here: the protocols themselves, and the rules for certificates (`tls/`). The number of
connections is bounded by descriptors only, not per host.
"""
