"""The verbs for keys and maintenance: each makes its requests and prints what etcdctl prints. They
return exit codes.
"""

from __future__ import annotations

import os
import sys
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import rusd
from rusd.base.command_line import FAILED
from rusd.base.durable import sync
from rusd.utl.progress import bar

from . import printing
from .answers import alarm_name, key_and_value
from .client import BAD_FORM, Arguments, BadArguments, Client, asked, base64, only
from .gateway import CallError, Json

#: A snapshot of a member ends with the SHA-256 of the database, whose size is a multiple of this.
_SECTOR, _HASH = 512, 32

ORDERS = ("ASCEND", "DESCEND")
TARGETS = ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION")


# -- keys --------------------------------------------------------------------------------------


def get(arguments: Arguments, client: Client) -> int:
    """Print keys and their values."""
    if arguments.print_value_only and arguments.write_out != "simple":
        raise BadArguments("print-value-only is only for `--write-out=simple`")
    for flag, known in (
        ("consistency", ("l", "s")),
        ("order", ("", *ORDERS)),
        ("sort_by", ("", *TARGETS)),
    ):
        if (given := getattr(arguments, flag)) not in known:
            raise BadArguments(f"unknown --{flag.replace('_', '-')}: {given}", BAD_FORM)
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
    request = {"key": base64(os.fsencode(words[0])), "value": base64(value)}
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
    return {"key": base64(key), "range_end": base64(end)}


def compact(arguments: Arguments, client: Client) -> int:
    """Compact the history."""
    word = only(arguments, "compaction command needs 1 argument")
    try:
        revision = int(word)
    except ValueError:
        raise CallError(f'strconv.ParseInt: parsing "{word}": invalid syntax') from None
    with bar(None):
        client.call("kv/compaction", {"revision": str(revision), "physical": arguments.physical})
    printing.line(f"compacted revision {revision}")
    return 0


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
    for endpoint in asked(arguments, client):
        try:
            with bar(None):
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
    path = Path(only(arguments, "snapshot save expects one argument"))
    if len(client.endpoints) != 1:
        raise CallError(
            f"snapshot must be requested to one selected node, not multiple {client.endpoints}"
        )
    part = path.with_name(path.name + ".part")
    try:
        left = 0
        with (
            open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
            bar(lambda: _share(file, left)),
        ):
            for message in client.connect(client.endpoints).stream("maintenance/snapshot", {}):
                file.write(b64decode(message.get("blob", "")))
                left = int(message.get("remaining_bytes", 0))
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


def _share(file: BinaryIO, left: int) -> float:
    """Return how much of a file is there, with so many bytes to come."""
    with suppress(ValueError):  # (closed)
        size = file.tell()
        return size / (size + left) if left else 0.0
    return 1.0


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
