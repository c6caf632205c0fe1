"""Protobuf messages encoded by hand, where the protobuf library is too slow.

Every put, range and event passes here on every member, so these messages are joined from bytes that
the store already holds. The bytes are those of the protobuf library's deterministic encoding:
fields in number order, default values left out. Tests compare them with the library's.

Files:
    keyvalue        mvccpb.KeyValue: encoded once for each put, stored and sent as it is; varints
    kv_response     responses of the KV service, without their headers
    watch_response  WatchResponse, from parts that many watchers share
    header          ResponseHeader of one member
    range_request   RangeRequest of one key
    snapshot_response  SnapshotResponse, whose chunk is large

Data passes: mvcc stores and returns encoded KeyValues; state and api join them to responses; watch
joins them to events.

The room reads no store and holds no state but the cached header. All requests but those of one key
are decoded with the protobuf library.
"""
