"""The unary loads: which call, to which member, by how many clients at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from rusd.proto import rpc_pb2 as rpc
from tests.bench.load import Shape
from tests.support.client import Client

PUT_PATH = "/etcdserverpb.KV/Put"
RANGE_PATH = "/etcdserverpb.KV/Range"
TXN_PATH = "/etcdserverpb.KV/Txn"

ONE, STREAMS, BOTH, CONNECTIONS = Shape(1, 1), Shape(1, 100), Shape(10, 10), Shape(100, 1)

#: Keys under many/ that a large range returns.
MANY = 1000

KEY = b"bench/key"
BIG_KEY = b"big/key"
MIXED_KEY = b"mixed/key"

#: A value nobody can compress; the same in every run.
VALUE = random.Random(1).randbytes(256)
BIG_VALUE = random.Random(2).randbytes(1 << 20)

PUT = rpc.PutRequest(key=KEY, value=VALUE).SerializeToString()
SWAP = rpc.TxnRequest(
    compare=[
        rpc.Compare(key=KEY, target=rpc.Compare.VERSION, result=rpc.Compare.GREATER, version=0)
    ],
    success=[rpc.RequestOp(request_put=rpc.PutRequest(key=KEY, value=VALUE))],
    failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=KEY))],
).SerializeToString()
BIG_PUT = rpc.PutRequest(key=BIG_KEY, value=BIG_VALUE).SerializeToString()

#: Key and value of a put are key and range_end of a range, field by field. With zeros behind the
#: key as the value, one body is a 256-byte put as well as a range of just that key.
MIXED = rpc.PutRequest(
    key=MIXED_KEY, value=MIXED_KEY + bytes(256 - len(MIXED_KEY))
).SerializeToString()
MIXED_PATHS = (RANGE_PATH, RANGE_PATH, PUT_PATH, RANGE_PATH, RANGE_PATH)


@dataclass(frozen=True)
class Load:
    """One row."""

    title: str
    paths: tuple[str, ...]
    message: bytes
    shape: Shape
    #: "leader" or "follower": the member all clients talk to.
    role: str

    @property
    def name(self) -> str:
        return f"{self.title}, {self.role}, {self.shape}"


@dataclass(frozen=True)
class Group:
    """Loads that share a fresh pair of clusters, filled beforehand."""

    heading: str
    loads: list[Load]
    fill: Callable[[Client], None]


def ranging(serializable: bool, many: bool = False) -> bytes:
    key, end = (b"many/", b"many0") if many else (KEY, b"")
    request = rpc.RangeRequest(key=key, range_end=end, serializable=serializable)
    return request.SerializeToString()


def groups(members: int) -> list[Group]:
    """All unary loads for a cluster of so many members."""
    shapes = (ONE, STREAMS, BOTH, CONNECTIONS)
    three = (ONE, STREAMS, BOTH)
    several = members > 1

    def load(
        title: str,
        path: str,
        message: bytes,
        leader: tuple[Shape, ...],
        follower: tuple[Shape, ...],
    ) -> list[Load]:
        return [Load(title, (path,), message, shape, "leader") for shape in leader] + [
            Load(title, (path,), message, shape, "follower") for shape in follower if several
        ]

    linear, local = ranging(False), ranging(True)
    many_linear, many_local = ranging(False, many=True), ranging(True, many=True)
    return [
        Group("Writes", load("put 256 B", PUT_PATH, PUT, shapes, shapes), fill_one),
        Group(
            "Reads of one key",
            load("range 1 key, linearizable", RANGE_PATH, linear, shapes, three)
            # With one member the two kinds of reads differ little.
            + load(
                "range 1 key, serializable",
                RANGE_PATH,
                local,
                three if several else (BOTH,),
                (BOTH,),
            ),
            fill_one,
        ),
        Group(
            "Reads of 1,000 keys",
            load("range 1,000 keys, linearizable", RANGE_PATH, many_linear, three, (BOTH,))
            + load(
                "range 1,000 keys, serializable",
                RANGE_PATH,
                many_local,
                (ONE, BOTH) if several else (BOTH,),
                (BOTH,),
            ),
            fill_many,
        ),
        Group(
            "Transactions and mixed loads",
            load("txn compare-and-swap", TXN_PATH, SWAP, three, (BOTH,))
            + [
                Load("mixed 80 % range, 20 % put", MIXED_PATHS, MIXED, shape, role)
                for role in ("leader", "follower")[: 1 + several]
                for shape in (STREAMS, BOTH)
            ],
            fill_one,
        ),
        Group(
            "Big values",
            load("put 1 MiB", PUT_PATH, BIG_PUT, (ONE, Shape(4, 1)), ())
            + load(
                "range of a 1 MiB value, linearizable",
                RANGE_PATH,
                rpc.RangeRequest(key=BIG_KEY).SerializeToString(),
                (ONE, BOTH),
                (),
            ),
            fill_big,
        ),
    ]


def fill_one(client: Client) -> None:
    client.put(KEY, VALUE)
    client.put(MIXED_KEY, b"")


def fill_big(client: Client) -> None:
    client.put(BIG_KEY, BIG_VALUE)


def fill_many(client: Client) -> None:
    """1,000 keys with values of 256 bytes."""
    for start in range(0, MANY, 100):
        puts = [
            rpc.RequestOp(
                request_put=rpc.PutRequest(
                    key=b"many/%04d" % n, value=random.Random(n).randbytes(256)
                )
            )
            for n in range(start, start + 100)
        ]
        client.txn(rpc.TxnRequest(success=puts))
