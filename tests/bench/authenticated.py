"""Puts and ranges of a plain user with authentication on, and those of nobody before it is on.

The same cluster serves both, so what authentication costs is the difference between two rows.
"""

from __future__ import annotations

from functools import partial

from rusd.proto import auth_pb2
from rusd.proto import rpc_pb2 as rpc
from tests.bench.calls import KEY, PUT, PUT_PATH, RANGE_PATH, STREAMS, VALUE, ranging
from tests.bench.load import ENOUGH, LoadFailed, Measured, measure
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn, running
from tests.bench.unary import Raw, per_thousand
from tests.support.client import Client

HEADING = "Authentication"
AUTH = "/etcdserverpb.Auth/"
USER, PASSWORD = "user", "password"
LOADS = {"put 256 B": (PUT_PATH, PUT), "range 1 key, linearizable": (RANGE_PATH, ranging(False))}


class Target:
    """The leader of one cluster, found before a question for it needs a user."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.url, self.endpoint = subject.url("leader"), subject.endpoint("leader")
        self.metadata: dict[str, str] = {}

    def enable(self) -> None:
        """Switch authentication on; calls carry the token of a user with one role from here on."""
        with Client(self.endpoint) as client:
            for name, request in _set_up():
                client.call(AUTH + name, request, Raw)  # type: ignore[type-var]
            login = rpc.AuthenticateRequest(name=USER, password=PASSWORD)
            answer = client.call(AUTH + "Authenticate", login, rpc.AuthenticateResponse)
        self.metadata = {"token": answer.token}

    def measure(self, path: str, message: bytes, plan: Plan) -> Measured:
        """Raises LoadFailed if calls were refused."""
        with Client(self.endpoint, metadata=self.metadata) as client:
            size = len(client.call(path, message, Raw)) + 5  # type: ignore[type-var,arg-type]
        got = measure(
            self.url, [path], message, STREAMS, plan.seconds, plan.warm_up, plan.scratch,
            self.metadata,
        )  # fmt: skip
        if got.answer_bytes < ENOUGH * size * got.calls:
            raise LoadFailed(f"{self.subject.name}: some calls of {path} were refused")
        return got


def run(members: int, plan: Plan, table: Table) -> None:
    """Measure both calls without and with authentication."""
    titles = {(on, name): _title(on, name) for on in (False, True) for name in LOADS}
    if not any(plan.wants(members, title) for title in titles.values()):
        return
    rows = {key: Row(title, "calls/s") for key, title in titles.items()}
    table.rows += rows.values()
    with running(members, plan) as subjects:
        targets = {subject.name: Target(subject) for subject in subjects}
        for target in targets.values():
            with Client(target.endpoint) as client:
                client.put(KEY, VALUE)
        for on in (False, True):
            if on:
                for target in targets.values():
                    target.enable()
            for turn in plan.turns():
                for name in LOADS:
                    for subject in in_turn(subjects, turn):
                        row = rows[on, name]
                        table.attempt(partial(_measure, targets[subject.name], name, plan, row))
                        say(f"{members}: {row.title}: {subject.name}: {row.latest(subject.name)}")


def _measure(target: Target, name: str, plan: Plan, row: Row) -> None:
    before = target.subject.cpu_seconds()
    got = target.measure(*LOADS[name], plan)
    used = target.subject.cpu_seconds() - before
    row.add(
        target.subject.name,
        **{
            "calls/s": got.rate,
            "ms": got.latency_ms,
            "CPU s per 1,000": per_thousand(got, used, plan),
        },
    )


def _title(on: bool, name: str) -> str:
    return f"{name}, leader, {STREAMS}, authentication {'on' if on else 'off'}"


def _set_up() -> list[tuple[str, object]]:
    permission = auth_pb2.Permission(
        permType=auth_pb2.Permission.READWRITE, key=b"bench/", range_end=b"bench0"
    )
    return [
        ("UserAdd", rpc.AuthUserAddRequest(name="root", password=PASSWORD)),
        ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user="root", role="root")),
        ("RoleAdd", rpc.AuthRoleAddRequest(name="role")),
        (
            "RoleGrantPermission",
            rpc.AuthRoleGrantPermissionRequest(name="role", perm=permission),
        ),
        ("UserAdd", rpc.AuthUserAddRequest(name=USER, password=PASSWORD)),
        ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=USER, role="role")),
        ("AuthEnable", rpc.AuthEnableRequest()),
    ]
