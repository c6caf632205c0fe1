"""The door: bytes on sockets become service calls, answers become bytes.

`grpc_door.py` serves gRPC on the client URLs through grpcio (a native door is to replace it;
nothing outside this room knows grpcio). `http_door.py` serves HTTP/1.1 on the metrics URLs. What a
call means is decided behind `rusd/api/seam.py`; the door knows deadlines, message limits, statuses
and back-pressure, and nothing of etcd.
"""
