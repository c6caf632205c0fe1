"""The JSON gateway: etcd's methods as pages of the HTTP port.

    page request ── gateway.py ─┬─ unary.py ──────┐
                                └─ streaming.py ──┴─▶ the table of methods (`rusd/rpc/methods.py`)

- `gateway.py`      the page of all paths: finds the call of a path
- `paths.py`        HTTP path -> method; which methods only read
- `unary.py`        one JSON object in, one out
- `streaming.py`    JSON objects in, a line of JSON for each message out
- `method_json.py`  one method: its requests from JSON, its responses to JSON
- `json_reader.py`  JSON to messages, by protojson's rules
- `json_syntax.py`  JSON texts, and Go's errors for them; a stream of objects cut into texts
- `json_deep.py`    JSON texts nested deeper than Python's parser recurses
- `json_writer.py`  messages to JSON
- `json_pieces.py`  long messages to JSON, in pieces
- `json_types.py`   the reader or writer of each type of message
- `metadata.py`     HTTP headers to metadata of a call
- `answers.py`      statuses, headers and the JSON of errors
- `slots.py`        how many calls are under way
- `memory.py`       answers that wait for their clients

Answers are those of etcd's gateway (grpc-gateway 2 over protojson), byte for byte but for the white
space that Go inserts or not. A call goes through the same guarded table as one of gRPC: there is no
second way to a service.

Promises: memory is bounded by what a stream may queue and by what all answers together may hold; a
client that does not read fills its own queue only, and is cut off when others wait. A long text is
read in a thread, a long answer written in pieces. Whatever a body holds, only its own request
fails.

Not here: sockets, HTTP versions and WebSockets (`rusd/door/http/`), which treat this as a page.
"""

from rusd.door.gateway.gateway import Gateway as Gateway

#: Bytes of JSON that a message of one byte may take, about: base64, names and white space.
BODY_PER_MESSAGE = 1.5
