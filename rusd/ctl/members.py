"""The verbs for members: what they say of themselves, and changes of who they are.

They make their requests, print what etcdctl prints, and return exit codes.
"""

from __future__ import annotations

import sys
import time

from rusd.base.command_line import FAILED
from rusd.base.urls import Url
from rusd.utl.printing import human_size
from rusd.utl.progress import bar

from . import printing
from .answers import alarm_name
from .client import Arguments, BadArguments, Client, asked, base64, only
from .gateway import CallError, Json

_STATUS = (
    *("ENDPOINT", "ID", "VERSION", "DB SIZE", "IS LEADER", "IS LEARNER"),
    *("RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS"),
)
_MEMBERS = ("ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER")
_HEALTH = ("ENDPOINT", "HEALTH", "TOOK", "ERROR")
_HASHES = ("ENDPOINT", "HASH", "HASH REVISION")


def health(arguments: Arguments, client: Client) -> int:
    """Print whether each endpoint serves a linearizable read and has no alarm."""
    rows: list[Json] = []
    for endpoint in asked(arguments, client):
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
        client.call("kv/range", {"key": base64(b"health")}, endpoint)
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
    for endpoint in asked(arguments, client):
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


def move_leader(arguments: Arguments, client: Client) -> int:
    """Hand leadership to another member; one of the endpoints must be the leader's."""
    word = only(arguments, "move-leader command needs 1 argument")
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


def hashes(arguments: Arguments, client: Client) -> int:
    """Print the hash of the keys on each endpoint, at one revision."""
    found: list[Json] = []
    failure: CallError | None = None
    for endpoint in asked(arguments, client):
        try:
            request = {"revision": str(arguments.rev)}
            with bar(None):
                hashed = client.call("maintenance/hashkv", request, endpoint)
            found.append({"Endpoint": endpoint, "HashKV": hashed})
        except CallError as error:
            text = f"Failed to get the hash of endpoint {endpoint} ({error})"
            print(text, file=sys.stderr)
            failure = error
    if arguments.write_out == "json":
        printing.as_json(found)
    else:
        names = ("hash", "hash_revision")
        rows = [
            [each["Endpoint"], *(str(each["HashKV"].get(name, 0)) for name in names)]
            for each in found
        ]
        _print_rows(arguments, _HASHES, rows)
    if failure is not None:
        raise failure
    return 0


# -- changes -----------------------------------------------------------------------------------


def add(arguments: Arguments, client: Client) -> int:
    """Add a member, which is then started with what is printed."""
    words = arguments.words
    if not words:
        raise BadArguments("member name not provided")
    if len(words) > 1:
        meant = (word for word in words if word.lower().startswith("http"))
        hints = "".join(f", did you mean --peer-urls={word}" for word in meant)
        raise BadArguments(f"too many arguments{hints}")
    request: Json = {"peerURLs": _checked_urls(arguments), "isLearner": arguments.learner}
    found = client.call("cluster/member/add", request)
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    new = found["member"]["ID"]
    learner = " as learner" if arguments.learner else ""
    printing.line(f"Member {new:16x} added{learner} to cluster {found['header']['cluster_id']:16x}")
    cluster = ",".join(
        f"{words[0] if member['ID'] == new else member.get('name', '')}={url}"
        for member in found.get("members", ())
        for url in member.get("peerURLs", ())
    )
    printing.line(f'\nETCD_NAME="{words[0]}"')
    printing.line(f'ETCD_INITIAL_CLUSTER="{cluster}"')
    printing.line(f'ETCD_INITIAL_ADVERTISE_PEER_URLS="{arguments.peer_urls}"')
    printing.line('ETCD_INITIAL_CLUSTER_STATE="existing"')
    return 0


def remove(arguments: Arguments, client: Client) -> int:
    """Remove a member."""
    return _change("remove", "removed from", {"ID": _member(arguments)}, arguments, client)


def update(arguments: Arguments, client: Client) -> int:
    """Give a member other peer URLs."""
    request: Json = {"ID": _member(arguments), "peerURLs": _peer_urls(arguments)}
    return _change("update", "updated in", request, arguments, client)


def promote(arguments: Arguments, client: Client) -> int:
    """Let a learner that has caught up count for quorums."""
    return _change("promote", "promoted in", {"ID": _member(arguments)}, arguments, client)


def _change(verb: str, done: str, request: Json, arguments: Arguments, client: Client) -> int:
    found = client.call(f"cluster/member/{verb}", request)
    if arguments.write_out == "json":
        printing.as_json(found)
        return 0
    member, cluster = int(request["ID"]), found["header"]["cluster_id"]
    printing.line(f"Member {member:16x} {done} cluster {cluster:16x}")
    return 0


def _member(arguments: Arguments) -> str:
    """Return the id that a word names in hexadecimal, as a number."""
    word = only(arguments, "member ID is not provided")
    try:
        number = int(word, 16)
    except ValueError:
        parsed = f'strconv.ParseUint: parsing "{word}": invalid syntax'
        raise BadArguments(f"bad member ID arg ({parsed}), expecting ID in Hex") from None
    return str(number)


def _peer_urls(arguments: Arguments) -> list[str]:
    if not arguments.peer_urls:
        raise BadArguments("member peer urls not provided")
    urls: list[str] = arguments.peer_urls.split(",")
    return urls


def _checked_urls(arguments: Arguments) -> list[str]:
    """Return the peer URLs of a new member. Raises CallError if one is no URL."""
    urls = _peer_urls(arguments)
    try:
        for url in urls:
            Url(url)
    except ValueError as error:
        raise CallError(str(error)) from None
    return urls
