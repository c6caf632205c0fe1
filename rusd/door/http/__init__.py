"""HTTP/1.1, and HTTP/2 requests that are not gRPC: the pages of a member."""
