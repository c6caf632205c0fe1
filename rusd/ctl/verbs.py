"""The verbs: each makes its requests and prints what etcdctl prints. They return exit codes."""

from __future__ import annotations

import os
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import rusd
from rusd.base.durable import sync
from rusd.utl.printing import human_size

from . import printing
from .answers import alarm_name, as_etcdctl, key_and_value
from .gateway import CallError, Gateway, Json

#: Words and flags of a verb, by name.
Arguments: TypeAlias = Any

FAILED = 1
BAD_ARGUMENTS = 128

_STATUS = (
    *("ENDPOINT", "ID", "VERSION", "DB SIZE", "IS LEADER", "IS LEARNER"),
    *("RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS"),
)
_MEMBERS = ("ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER")
_HEALTH = ("ENDPOINT", "HEALTH", "TOOK", "ERROR")

#: A snapshot of a member ends with the SHA-256 of the database, whose size is a multiple of this.
_SECTOR, _HASH = 512, 32


class BadArguments(Exception):
    """Arguments that do not go together."""


class Client(NamedTuple):
    """Endpoints, and a function that connects to some of them."""

    endpoints: list[str]
    connect: Callable[[list[str]], Gateway]

    def call(self, path: str, request: Json, *endpoints: str) -> Json:
        """Return the response of `endpoints` (default: all, in turn). Raises CallError."""
        found: Json = as_etcdctl(self.connect([*endpoints] or self.endpoints).call(path, request))
        return found


# -- keys --------------------------------------------------------------------------------------


def get(arguments: Arguments, client: Client) -> int:
    """Print keys and their values."""
    if arguments.print_value_only and arguments.write_out != "simple":
        raise BadArguments("print-value-only is only for `--write-out=simple`")
    request = _range("get", arguments)
    request |= {"limit": str(arguments.limit), "revision": str(arguments.rev)}
    request |= {"keys_only": arguments.keys_only, "serializable": arguments.consistency == "s"}
    order = arguments.order or ("ASCEND" if arguments.sort_by else "NONE")
    request |= {"sort_order": order, "sort_target": _target(arguments)}
    found = client.call("kv/range", request)
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    for key, value in map(key_and_value, found.get("kvs", ())):
        if not arguments.print_value_only:
            printing.raw(key)
        printing.raw(value)
    return 0


def _target(arguments: Arguments) -> str:
    target: str = arguments.sort_by
    return {"": "KEY", "MODIFY": "MOD"}.get(target, target)


def put(arguments: Arguments, client: Client) -> int:
    """Write a key; without a value, the value is read from standard input."""
    words = arguments.words
    value = b""
    if len(words) > 1:  # (etcdctl ignores further words)
        value = os.fsencode(words[1])
    elif words and not sys.stdin.isatty():
        value = sys.stdin.buffer.read()
    if len(words) < 2 and not value:
        raise BadArguments("put command needs 1 argument and input from stdin or 2 arguments")
    try:
        lease = int(arguments.lease, 16)
    except ValueError:
        raise BadArguments(f"bad lease ID ({arguments.lease}), expecting ID in Hex") from None
    request = {"key": _base64(os.fsencode(words[0])), "value": _base64(value)}
    found = client.call("kv/put", request | {"lease": str(lease), "prev_kv": arguments.prev_kv})
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    printing.line("OK")
    if previous := found.get("prev_kv"):
        _print_pair(previous)
    return 0


def delete(arguments: Arguments, client: Client) -> int:
    """Delete keys and print their number."""
    found = client.call("kv/deleterange", _range("del", arguments) | {"prev_kv": arguments.prev_kv})
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    printing.line(str(found.get("deleted", 0)))
    for pair in found.get("prev_kvs", ()):
        _print_pair(pair)
    return 0


def _print_pair(pair: Json) -> None:
    for part in key_and_value(pair):
        printing.raw(part)


def _range(verb: str, arguments: Arguments) -> Json:
    """Return the fields `key` and `range_end` for the words and flags of a verb."""
    words = [os.fsencode(word) for word in arguments.words]
    # etcdctl's `get` ignores further words.
    if not words or (len(words) > 2 and verb == "del"):
        raise BadArguments(
            f"{verb} command needs one argument as key and an optional argument as range_end"
        )
    if arguments.prefix and arguments.from_key:
        raise BadArguments("`--prefix` and `--from-key` cannot be set at the same time, choose one")
    if len(words) > 1 and (arguments.prefix or arguments.from_key):
        raise BadArguments(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"
        )
    key, end = words[0], words[1] if len(words) > 1 else b""
    if arguments.from_key or (arguments.prefix and not key):
        key, end = key or b"\0", b"\0"
    elif arguments.prefix:
        stem = key.rstrip(b"\xff")
        end = stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
    return {"key": _base64(key), "range_end": _base64(end)}


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def compact(arguments: Arguments, client: Client) -> int:
    """Compact the history."""
    word = _only(arguments, "compaction command needs 1 argument")
    try:
        revision = int(word)
    except ValueError:
        raise CallError(f'strconv.ParseInt: parsing "{word}": invalid syntax') from None
    client.call("kv/compaction", {"revision": str(revision), "physical": arguments.physical})
    printing.line(f"compacted revision {revision}")
    return 0


# -- members -----------------------------------------------------------------------------------


def health(arguments: Arguments, client: Client) -> int:
    """Print whether each endpoint serves a linearizable read and has no alarm."""
    rows: list[Json] = []
    for endpoint in _endpoints(arguments, client):
        begun = time.monotonic()
        failure = _unhealthy(client, endpoint)
        took = printing.duration(time.monotonic() - begun)
        row = {"endpoint": endpoint, "health": not failure, "took": took}
        rows.append(row | ({"error": failure} if failure else {}))
    if arguments.write_out == "json":
        printing.as_json(rows)
    elif arguments.write_out == "table":
        printing.table(
            _HEALTH,
            [
                [row["endpoint"], _bool(row["health"]), row["took"], row.get("error", "")]
                for row in rows
            ],
        )
    else:
        for row in rows:
            if row["health"]:
                text = f"healthy: successfully committed proposal: took = {row['took']}"
                printing.line(f"{row['endpoint']} is {text}")
            else:
                text = f"unhealthy: failed to commit proposal: {row['error']}"
                print(f"{row['endpoint']} is {text}", file=sys.stderr)
    if all(row["health"] for row in rows):
        return 0
    print("Error: unhealthy cluster", file=sys.stderr)
    return FAILED


def _unhealthy(client: Client, endpoint: str) -> str:
    """Return what is wrong with a member, or ""."""
    try:
        client.call("kv/range", {"key": _base64(b"health")}, endpoint)
    except CallError as error:
        if str(error) != "etcdserver: permission denied":
            return str(error)
    try:
        alarms = client.call("maintenance/alarm", {"action": "GET"}, endpoint).get("alarms", ())
    except CallError:
        return "Unable to fetch the alarm list"
    names = " ".join(alarm_name(each.get("alarm", 0)) for each in alarms)
    return f"Active Alarm(s): {names} " if names else ""


def status(arguments: Arguments, client: Client) -> int:
    """Print the status of each endpoint."""
    found: list[Json] = []
    code = 0
    for endpoint in _endpoints(arguments, client):
        try:
            state = client.call("maintenance/status", {}, endpoint)
            found.append({"Endpoint": endpoint, "Status": state})
        except CallError as error:
            text = f"Failed to get the status of endpoint {endpoint} ({error})"
            print(text, file=sys.stderr)
            code = FAILED
    if arguments.write_out == "json":
        printing.as_json(found)
        return code
    rows = [_status_row(each["Endpoint"], each["Status"]) for each in found]
    _print_rows(arguments, _STATUS, rows)
    return code


def _status_row(endpoint: str, state: Json) -> list[str]:
    member = state["header"]["member_id"]
    return [
        *(endpoint, f"{member:x}", state.get("version", ""), human_size(state.get("dbSize", 0))),
        *(_bool(state.get("leader") == member), _bool(state.get("isLearner", False))),
        *(str(state.get(name, 0)) for name in ("raftTerm", "raftIndex", "raftAppliedIndex")),
        ", ".join(state.get("errors", ())),
    ]


def members(arguments: Arguments, client: Client) -> int:
    """Print the members of the cluster."""
    found = client.call("cluster/member/list", {"linearizable": True})
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    rows = [
        [
            f"{each['ID']:x}",
            "started" if each.get("name") else "unstarted",
            each.get("name", ""),
            *(",".join(each.get(urls, ())) for urls in ("peerURLs", "clientURLs")),
            _bool(each.get("isLearner", False)),
        ]
        for each in found.get("members", ())
    ]
    _print_rows(arguments, _MEMBERS, rows)
    return 0


def _print_rows(arguments: Arguments, titles: tuple[str, ...], rows: list[list[str]]) -> None:
    if arguments.write_out == "table":
        printing.table(titles, rows)
        return
    for row in rows:
        printing.line(", ".join(row))


def _bool(value: bool) -> str:
    return str(value).lower()


def _endpoints(arguments: Arguments, client: Client) -> list[str]:
    """Return the endpoints that are named, or with --cluster those that the members advertise."""
    if not arguments.cluster:
        return client.endpoints
    found = client.call("cluster/member/list", {"linearizable": True}).get("members", ())
    return [url for member in found for url in member.get("clientURLs", ())]


def move_leader(arguments: Arguments, client: Client) -> int:
    """Hand leadership to another member; one of the endpoints must be the leader's."""
    word = _only(arguments, "move-leader command needs 1 argument")
    try:
        target = int(word, 16)
    except ValueError:
        raise BadArguments(f'strconv.ParseUint: parsing "{word}": invalid syntax') from None
    for endpoint in client.endpoints:
        try:
            state = client.call("maintenance/status", {}, endpoint)
        except CallError:
            continue
        leader = state["header"]["member_id"]
        if state.get("leader") == leader:
            client.call("maintenance/transfer-leadership", {"targetID": str(target)}, endpoint)
            printing.line(f"Leadership transferred from {leader:x} to {target:x}")
            return 0
    raise BadArguments(f"no leader endpoint given at [{' '.join(client.endpoints)}]")


# -- maintenance -------------------------------------------------------------------------------


def alarms(arguments: Arguments, client: Client) -> int:
    """Print alarms; `disarm` ends them."""
    found = client.call("maintenance/alarm", {"action": "GET"})
    if arguments.disarm:
        listed, found = found.get("alarms", ()), {}
        for each in listed:
            ended = {"memberID": str(each["memberID"]), "alarm": each["alarm"]}
            done = client.call("maintenance/alarm", {"action": "DEACTIVATE", **ended})
            found = {**done, "alarms": [*found.get("alarms", ()), *done.get("alarms", ())]}
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    for each in found.get("alarms", ()):
        printing.line(f"memberID:{each['memberID']} alarm:{alarm_name(each['alarm'])} ")
    return 0


def defragment(arguments: Arguments, client: Client) -> int:
    """Defragment the database of each endpoint."""
    code = 0
    for endpoint in _endpoints(arguments, client):
        try:
            client.call("maintenance/defragment", {}, endpoint)
        except CallError as error:
            text = f"Failed to defragment etcd member[{endpoint}] ({error})"
            print(text, file=sys.stderr)
            code = FAILED
        else:
            printing.line(f"Finished defragmenting etcd member[{endpoint}]")
    return code


def snapshot(arguments: Arguments, client: Client) -> int:
    """Save a snapshot in a file, which appears when it is whole and on disk."""
    path = Path(_only(arguments, "snapshot save expects one argument"))
    if len(client.endpoints) != 1:
        raise CallError(
            f"snapshot must be requested to one selected node, not multiple {client.endpoints}"
        )
    part = path.with_name(path.name + ".part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for message in client.connect(client.endpoints).stream("maintenance/snapshot", {}):
                file.write(b64decode(message.get("blob", "")))
            size = file.tell()
            if size % _SECTOR != _HASH:
                raise CallError(f"sha256 checksum not found [bytes: {size}]")
        sync(part)
        part.replace(path)
        sync(path.absolute().parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    printing.line(f"Snapshot saved at {path}")
    return 0


def users(arguments: Arguments, client: Client) -> int:
    """Print the names of users."""
    found = client.call("auth/user/list", {})
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    for name in found.get("users", ()):
        printing.line(name)
    return 0


def version(arguments: Arguments, client: Client) -> int:
    """Print the version of the command and of etcd's API."""
    printing.line(f"rusdctl version: {rusd.__version__}")
    printing.line(f"API version: {'.'.join(rusd.ETCD_VERSION.split('.')[:2])}")
    return 0


def _only(arguments: Arguments, otherwise: str) -> str:
    if len(arguments.words) != 1:
        raise BadArguments(otherwise)
    word: str = arguments.words[0]
    return word
