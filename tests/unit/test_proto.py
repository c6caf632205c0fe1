"""The wire format: field numbers, types and services are etcd's, and the checked-in code is new."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from rusd.proto import auth_pb2, health_pb2, kv_pb2, rpc_pb2, v3election_pb2, v3lock_pb2

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    "auth": auth_pb2,
    "health": health_pb2,
    "kv": kv_pb2,
    "rpc": rpc_pb2,
    "v3election": v3election_pb2,
    "v3lock": v3lock_pb2,
}
TYPES = {
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_UINT32: "uint32",
}


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("proto_generate", ROOT / "proto" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _without_versions(source: str) -> str:
    """Generated code names the generator's version, which may differ; all else may not."""
    source = re.sub(r"# Protobuf Python Version: .*", "", source)
    return re.sub(r"(Domain\.PUBLIC,\n)(\s+\d+,\n){3}", r"\1", source)


def _fields(message: Descriptor) -> dict[str, str]:
    """name -> "number type" in the words of the field table: `rep` for repeated."""
    found = {}
    for field in message.fields:
        if field.message_type is not None:
            kind = field.message_type.full_name
        elif field.enum_type is not None:
            kind = field.enum_type.name
        else:
            kind = TYPES[field.type]
        found[field.name] = f"{field.number} {'rep ' if field.is_repeated else ''}{kind}"
    return found


def test_the_checked_in_code_is_what_the_proto_files_generate(tmp_path: Path) -> None:
    _generator().generate(tmp_path)
    made = {path.name: path for path in (tmp_path / "rusd" / "proto").iterdir()}
    kept = {path.name: path for path in (ROOT / "rusd" / "proto").glob("*_pb2.py*")}
    assert sorted(made) == sorted(kept)
    for name, path in made.items():
        assert _without_versions(path.read_text()) == _without_versions(kept[name].read_text())


HEADER = "1 etcdserverpb.ResponseHeader"
KEY_VALUE = "mvccpb.KeyValue"
TABLE = {
    (rpc_pb2, "ResponseHeader"): {
        "cluster_id": "1 uint64",
        "member_id": "2 uint64",
        "revision": "3 int64",
        "raft_term": "4 uint64",
    },
    (kv_pb2, "KeyValue"): {
        "key": "1 bytes",
        "create_revision": "2 int64",
        "mod_revision": "3 int64",
        "version": "4 int64",
        "value": "5 bytes",
        "lease": "6 int64",
    },
    (kv_pb2, "Event"): {
        "type": "1 EventType",
        "kv": f"2 {KEY_VALUE}",
        "prev_kv": f"3 {KEY_VALUE}",
    },
    (rpc_pb2, "RangeRequest"): {
        "key": "1 bytes",
        "range_end": "2 bytes",
        "limit": "3 int64",
        "revision": "4 int64",
        "sort_order": "5 SortOrder",
        "sort_target": "6 SortTarget",
        "serializable": "7 bool",
        "keys_only": "8 bool",
        "count_only": "9 bool",
        "min_mod_revision": "10 int64",
        "max_mod_revision": "11 int64",
        "min_create_revision": "12 int64",
        "max_create_revision": "13 int64",
    },
    (rpc_pb2, "RangeResponse"): {
        "header": HEADER,
        "kvs": f"2 rep {KEY_VALUE}",
        "more": "3 bool",
        "count": "4 int64",
    },
    (rpc_pb2, "RangeStreamResponse"): {"range_response": "1 etcdserverpb.RangeResponse"},
    (rpc_pb2, "PutRequest"): {
        "key": "1 bytes",
        "value": "2 bytes",
        "lease": "3 int64",
        "prev_kv": "4 bool",
        "ignore_value": "5 bool",
        "ignore_lease": "6 bool",
    },
    (rpc_pb2, "DeleteRangeResponse"): {
        "header": HEADER,
        "deleted": "2 int64",
        "prev_kvs": f"3 rep {KEY_VALUE}",
    },
    (rpc_pb2, "Compare"): {
        "result": "1 CompareResult",
        "target": "2 CompareTarget",
        "key": "3 bytes",
        "version": "4 int64",
        "create_revision": "5 int64",
        "mod_revision": "6 int64",
        "value": "7 bytes",
        "lease": "8 int64",
        "range_end": "64 bytes",
    },
    (rpc_pb2, "TxnRequest"): {
        "compare": "1 rep etcdserverpb.Compare",
        "success": "2 rep etcdserverpb.RequestOp",
        "failure": "3 rep etcdserverpb.RequestOp",
    },
    (rpc_pb2, "TxnResponse"): {
        "header": HEADER,
        "succeeded": "2 bool",
        "responses": "3 rep etcdserverpb.ResponseOp",
    },
    (rpc_pb2, "WatchCreateRequest"): {
        "key": "1 bytes",
        "range_end": "2 bytes",
        "start_revision": "3 int64",
        "progress_notify": "4 bool",
        "filters": "5 rep FilterType",
        "prev_kv": "6 bool",
        "watch_id": "7 int64",
        "fragment": "8 bool",
    },
    (rpc_pb2, "WatchResponse"): {
        "header": HEADER,
        "watch_id": "2 int64",
        "created": "3 bool",
        "canceled": "4 bool",
        "compact_revision": "5 int64",
        "cancel_reason": "6 string",
        "fragment": "7 bool",
        "events": "11 rep mvccpb.Event",
    },
    (rpc_pb2, "LeaseGrantRequest"): {"TTL": "1 int64", "ID": "2 int64"},
    (rpc_pb2, "LeaseGrantResponse"): {
        "header": HEADER,
        "ID": "2 int64",
        "TTL": "3 int64",
        "error": "4 string",
    },
    (rpc_pb2, "LeaseTimeToLiveResponse"): {
        "header": HEADER,
        "ID": "2 int64",
        "TTL": "3 int64",
        "grantedTTL": "4 int64",
        "keys": "5 rep bytes",
    },
    (rpc_pb2, "Member"): {
        "ID": "1 uint64",
        "name": "2 string",
        "peerURLs": "3 rep string",
        "clientURLs": "4 rep string",
        "isLearner": "5 bool",
    },
    (rpc_pb2, "StatusResponse"): {
        "header": HEADER,
        "version": "2 string",
        "dbSize": "3 int64",
        "leader": "4 uint64",
        "raftIndex": "5 uint64",
        "raftTerm": "6 uint64",
        "raftAppliedIndex": "7 uint64",
        "errors": "8 rep string",
        "dbSizeInUse": "9 int64",
        "isLearner": "10 bool",
        "storageVersion": "11 string",
        "dbSizeQuota": "12 int64",
        "downgradeInfo": "13 etcdserverpb.DowngradeInfo",
    },
    (rpc_pb2, "HashKVResponse"): {
        "header": HEADER,
        "hash": "2 uint32",
        "compact_revision": "3 int64",
        "hash_revision": "4 int64",
    },
    (rpc_pb2, "SnapshotResponse"): {
        "header": HEADER,
        "remaining_bytes": "2 uint64",
        "blob": "3 bytes",
        "version": "4 string",
    },
    (rpc_pb2, "AuthUserAddRequest"): {
        "name": "1 string",
        "password": "2 string",
        "options": "3 authpb.UserAddOptions",
        "hashedPassword": "4 string",
    },
    (auth_pb2, "Permission"): {"permType": "1 Type", "key": "2 bytes", "range_end": "3 bytes"},
    (v3lock_pb2, "LockResponse"): {"header": HEADER, "key": "2 bytes"},
    (v3election_pb2, "LeaderKey"): {
        "name": "1 bytes",
        "key": "2 bytes",
        "rev": "3 int64",
        "lease": "4 int64",
    },
    (health_pb2, "HealthCheckResponse"): {"status": "1 ServingStatus"},
}


@pytest.mark.parametrize(
    ("module", "name"), TABLE, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_message_has_the_fields_of_etcds_table(module: ModuleType, name: str) -> None:
    file: FileDescriptor = module.DESCRIPTOR
    assert _fields(file.message_types_by_name[name]) == TABLE[module, name]


@pytest.mark.parametrize(
    ("message", "oneof", "members"),
    [
        ("WatchRequest", "request_union", "create_request cancel_request progress_request"),
        ("Compare", "target_union", "version create_revision mod_revision value lease"),
        ("RequestOp", "request", "request_range request_put request_delete_range request_txn"),
        (
            "ResponseOp",
            "response",
            "response_range response_put response_delete_range response_txn",
        ),
    ],
)
def test_a_union_holds_one_of_its_members(message: str, oneof: str, members: str) -> None:
    union = rpc_pb2.DESCRIPTOR.message_types_by_name[message].oneofs_by_name[oneof]
    assert [field.name for field in union.fields] == members.split()


SERVICES = {
    "etcdserverpb.KV": "Range RangeStream> Put DeleteRange Txn Compact",
    "etcdserverpb.Watch": "<Watch>",
    "etcdserverpb.Lease": "LeaseGrant LeaseRevoke <LeaseKeepAlive> LeaseTimeToLive LeaseLeases",
    "etcdserverpb.Cluster": "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote",
    "etcdserverpb.Maintenance": (
        "Alarm Status Defragment Hash HashKV Snapshot> MoveLeader Downgrade"
    ),
    "etcdserverpb.Auth": (
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete "
        "UserChangePassword UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete "
        "RoleGrantPermission RoleRevokePermission"
    ),
    "v3electionpb.Election": "Campaign Proclaim Leader Observe> Resign",
    "v3lockpb.Lock": "Lock Unlock",
    "grpc.health.v1.Health": "Check List Watch>",
}


def test_services_have_etcds_methods_and_streams() -> None:
    """`<` marks a stream of requests, `>` a stream of answers."""
    found = {
        service.full_name: " ".join(
            f"{'<' * method.client_streaming}{method.name}{'>' * method.server_streaming}"
            for method in service.methods
        )
        for module in MODULES.values()
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    assert found == SERVICES


def test_descriptors_do_not_collide_with_those_of_other_etcd_clients() -> None:
    """Clients of etcd for Python register a `kv.proto` or `rpc.proto` in the same process."""
    for name, module in MODULES.items():
        assert module.DESCRIPTOR.name == f"rusd/proto/{name}.proto"
