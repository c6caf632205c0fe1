"""Between the door (gRPC and HTTP on sockets) and the services (etcd's meaning).

The door decodes a request, calls the method of its path, and writes the encoded response. Services
see no type of a gRPC library; the door sees no etcd semantics; either can be exchanged.

- `call.py` what a method knows of its call besides the request;
- `methods.py` the table of methods: path -> unary, server-streaming or bidirectional method;
- `responses.py` encoded responses, and responses of proposals and reads to come;
- `streams.py` the two ends of a streaming call;
- `errors.py` etcd's errors: gRPC status code and text of each;
- `authentication.py` the identity of a call; `signing.py` proposals that carry it;
- `pages.py` requests and responses of HTTP pages;
- `requirements.py` what each method requires before it runs;
- `audit.py` lines of the audit log; `request_log.py` the log line of a slow call;
- `guards/` checks wrapped round the table of methods.

A refusal (`rusd/base/errors.py`) is raised or awaited; the door answers it with the status that
`errors.as_etcd` gives. This package does no I/O and decodes no requests.
"""
