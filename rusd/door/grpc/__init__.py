"""gRPC over HTTP/2: calls and streams for a table of methods."""
