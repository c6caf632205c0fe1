"""The calls of kube-apiserver to etcd, and the guarantees it relies on, on three members.

Nothing here is particular to rusd: `RUSD_TEST_SUBJECT=PATH` runs it on another etcd. Calls are
spread over all members, as the API server's clients spread them.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import h2.connection
import h2.events
import pytest

from cluster.local import LocalCluster
from rusd.proto import kv_pb2 as kv
from rusd.proto import rpc_pb2 as rpc
from tests.support.apiserver import claim_compaction, create, delete, prefix_end, update
from tests.support.client import TIMEOUT, Client, Refused, WatchStream
from tests.support.pair import SUBJECT, command

COMPACTED = Refused("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
FUTURE = Refused("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
TOO_LARGE = Refused("INVALID_ARGUMENT", "etcdserver: request is too large")

#: Seconds between two notices to a watch without events: Kubernetes' own tests use 5.
NOTICE = "--watch-progress-notify-interval=200ms"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)], flags=[NOTICE]) as running:
        yield running


@pytest.fixture(scope="module")
def clients(cluster: LocalCluster) -> Iterator[list[Client]]:
    """One client of each member."""
    opened = [Client(endpoint) for endpoint in cluster.endpoints]
    yield opened
    for client in opened:
        client.close()


@pytest.fixture
def client(cluster: LocalCluster, clients: list[Client]) -> Client:
    """A client of a follower, which forwards writes and asks the leader for its reads."""
    return clients[(cluster.leader() + 1) % 3]


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> bytes:
    """Keys of this test alone."""
    return f"/registry/{request.node.name}/".encode()


def watch(client: Client, prefix: bytes, after: int, *, notices: bool = False) -> WatchStream:
    """A watch cache's watch of a resource, created."""
    stream = client.watch()
    stream.create(
        prefix,
        prefix_end(prefix),
        start_revision=after + 1,
        prev_kv=True,
        progress_notify=notices,
    )
    assert stream.receive().created
    return stream


def fill(client: Client, prefix: bytes, count: int) -> int:
    """`count` objects; the revision of the last."""
    for number in range(count):
        done = create(client, prefix + b"%05d" % number, b"value %d" % number)
        assert done.succeeded
    return done.header.revision


def put_all(client: Client, keys: list[bytes], value: bytes = b"", lease: int = 0) -> int:
    """Put keys at one revision, which is returned."""
    puts = [rpc.PutRequest(key=key, value=value, lease=lease) for key in keys]
    done = client.txn(rpc.TxnRequest(success=[rpc.RequestOp(request_put=put) for put in puts]))
    return done.header.revision


# --- writes ---------------------------------------------------------------------------------------


def test_an_object_is_created_at_the_revision_of_the_header(client: Client, prefix: bytes) -> None:
    done = create(client, prefix + b"a", b"one")
    assert done.succeeded and len(done.responses) == 1
    [stored] = client.range(prefix + b"a").kvs
    assert stored.create_revision == stored.mod_revision == done.header.revision
    assert stored.version == 1


def test_an_object_that_exists_is_not_created_and_no_revision_is_made(
    client: Client, prefix: bytes
) -> None:
    first = create(client, prefix + b"a", b"one")
    again = create(client, prefix + b"a", b"two")
    assert not again.succeeded and not again.responses
    assert again.header.revision == first.header.revision
    assert client.range(prefix + b"a").kvs[0].value == b"one"


def test_an_update_of_what_was_seen_makes_the_revision_of_the_header(
    clients: list[Client], prefix: bytes
) -> None:
    seen = create(clients[0], prefix + b"a", b"one").header.revision
    for number, client in enumerate(clients * 2):
        done = update(client, prefix + b"a", b"%d" % number, seen)
        assert done.succeeded
        seen = done.header.revision
        [stored] = client.range(prefix + b"a").kvs
        assert (stored.mod_revision, stored.version) == (seen, number + 2)


def test_a_conflicting_update_answers_what_is_stored(clients: list[Client], prefix: bytes) -> None:
    seen = create(clients[0], prefix + b"a", b"one").header.revision
    newer = update(clients[1], prefix + b"a", b"two", seen).header.revision
    refused = update(clients[2], prefix + b"a", b"three", seen)
    assert not refused.succeeded
    [answer] = refused.responses
    [stored] = answer.response_range.kvs
    assert (stored.value, stored.mod_revision) == (b"two", newer)
    assert refused.header.revision == newer


def test_an_update_of_a_deleted_object_answers_one_empty_range(
    client: Client, prefix: bytes
) -> None:
    refused = update(client, prefix + b"a", b"one", seen=1)
    assert not refused.succeeded
    [answer] = refused.responses
    assert answer.WhichOneof("response") == "response_range"
    assert not answer.response_range.kvs and answer.response_range.count == 0


def test_of_concurrent_updates_one_wins_and_the_others_learn_of_it(
    clients: list[Client], prefix: bytes
) -> None:
    seen = create(clients[0], prefix + b"a", b"").header.revision
    for _ in range(10):
        at = partial(update, key=prefix + b"a", value=b"new", seen=seen)
        with ThreadPoolExecutor(3) as together:
            answers = list(together.map(at, clients))
        [won] = [answer for answer in answers if answer.succeeded]
        lost = [answer for answer in answers if not answer.succeeded]
        found = {answer.responses[0].response_range.kvs[0].mod_revision for answer in lost}
        assert found == {won.header.revision}
        seen = won.header.revision


def test_an_update_without_a_lease_detaches_the_object(client: Client, prefix: bytes) -> None:
    lease = client.grant(ttl=600).ID
    seen = create(client, prefix + b"a", b"one", lease).header.revision
    assert client.range(prefix + b"a").kvs[0].lease == lease
    update(client, prefix + b"a", b"two", seen)
    assert client.range(prefix + b"a").kvs[0].lease == 0
    assert not client.time_to_live(lease, keys=True).keys
    client.revoke(lease)
    assert client.range(prefix + b"a").kvs


def test_a_delete_of_what_was_seen_makes_a_revision(client: Client, prefix: bytes) -> None:
    seen = create(client, prefix + b"a", b"one").header.revision
    done = delete(client, prefix + b"a", seen)
    assert done.succeeded and done.header.revision == seen + 1
    assert done.responses[0].response_delete_range.deleted == 1
    assert not client.range(prefix + b"a").kvs


def test_a_conflicting_delete_answers_what_is_stored(client: Client, prefix: bytes) -> None:
    seen = create(client, prefix + b"a", b"one").header.revision
    update(client, prefix + b"a", b"two", seen)
    refused = delete(client, prefix + b"a", seen)
    assert not refused.succeeded
    assert refused.responses[0].response_range.kvs[0].value == b"two"


def test_an_object_of_more_than_a_mebibyte_is_stored_and_one_too_large_refused(
    client: Client, prefix: bytes
) -> None:
    large = bytes(1_400_000)
    assert create(client, prefix + b"large", large).succeeded
    assert client.range(prefix + b"large").kvs[0].value == large
    with pytest.raises(Refused) as refused:
        create(client, prefix + b"too large", bytes(1_600_000))
    assert refused.value == TOO_LARGE
    assert not client.range(prefix + b"too large").kvs


# --- reads ----------------------------------------------------------------------------------------


def test_a_read_of_nothing_says_the_current_revision(clients: list[Client], prefix: bytes) -> None:
    written = create(clients[0], prefix + b"a", b"").header.revision
    for client in clients:
        answer = client.range(prefix + b"missing", limit=1)
        assert not answer.kvs and answer.count == 0
        assert answer.header.revision == written


def test_a_read_of_the_past_says_the_current_revision(client: Client, prefix: bytes) -> None:
    seen = create(client, prefix + b"a", b"one").header.revision
    newer = update(client, prefix + b"a", b"two", seen).header.revision
    past = client.range(prefix + b"a", limit=1, revision=seen)
    assert (past.kvs[0].value, past.header.revision) == (b"one", newer)


def test_each_member_reads_what_another_acknowledged(clients: list[Client], prefix: bytes) -> None:
    for number in range(30):
        key = prefix + b"%d" % number
        written = create(clients[number % 3], key, b"").header.revision
        assert clients[(number + 1) % 3].range(key, limit=1).kvs[0].mod_revision == written


def test_pages_of_a_list_are_of_one_revision_and_count_what_remains(
    clients: list[Client], prefix: bytes
) -> None:
    fill(clients[0], prefix, 25)
    start, end, revision = prefix, prefix_end(prefix), 0
    found: list[bytes] = []
    remaining = 25
    for page in range(3):
        answer = clients[page].range(start, end, limit=10, revision=revision)
        assert answer.count == remaining
        assert answer.more == (remaining > 10)
        revision = revision or answer.header.revision
        found += [each.key for each in answer.kvs]
        remaining -= len(answer.kvs)
        start = answer.kvs[-1].key + b"\0"
        # What is written between two pages is in none of them.
        create(clients[page], prefix + b"%05d-new" % page, b"")
    assert found == [prefix + b"%05d" % number for number in range(25)]


def test_a_count_and_a_list_of_keys_carry_no_values(client: Client, prefix: bytes) -> None:
    fill(client, prefix, 5)
    counted = client.range(prefix, prefix_end(prefix), count_only=True)
    assert (counted.count, len(counted.kvs)) == (5, 0)
    keys = client.range(prefix, prefix_end(prefix), keys_only=True)
    assert [(each.value, each.version) for each in keys.kvs] == [(b"", 1)] * 5


def test_a_list_of_ten_thousand_objects_is_one_answer(client: Client, prefix: bytes) -> None:
    for first in range(0, 10_000, 100):
        keys = [prefix + b"%05d" % number for number in range(first, first + 100)]
        put_all(client, keys, bytes(2000))
    answer = client.range(prefix, prefix_end(prefix), limit=10_000, timeout=60)
    assert (len(answer.kvs), answer.count, answer.more) == (10_000, 10_000, False)
    assert [each.key for each in answer.kvs] == sorted(each.key for each in answer.kvs)


def test_reads_and_pages_of_a_compacted_or_future_revision_are_refused(
    clients: list[Client], prefix: bytes
) -> None:
    first = fill(clients[0], prefix, 3)
    last = update(clients[0], prefix + b"00000", b"new", first - 2).header.revision
    clients[1].compact(last)
    for client in clients:
        with pytest.raises(Refused) as refused:
            client.range(prefix, prefix_end(prefix), limit=1, revision=first)
        assert refused.value == COMPACTED
        with pytest.raises(Refused) as refused:
            client.range(prefix, prefix_end(prefix), limit=1, revision=last + 1000)
        assert refused.value == FUTURE
        assert client.range(prefix, prefix_end(prefix), revision=last).count == 3


# --- compaction -----------------------------------------------------------------------------------


def test_one_api_server_of_three_wins_each_round_of_compaction(
    clients: list[Client], prefix: bytes
) -> None:
    key = prefix + b"compact_rev_key"
    known = [(0, 0)] * 3
    for wins in range(1, 7):
        with ThreadPoolExecutor(3) as together:
            claims = list(together.map(lambda c, k: claim_compaction(c, *k, key), clients, known))
        assert sum(claim.succeeded for claim in claims) == 1
        known = [(wins, claim.header.revision) for claim in claims]
        for claim in claims:
            if not claim.succeeded:
                assert claim.responses[0].response_range.kvs[0].version == wins


def test_a_watch_of_the_compactors_key_tells_the_others_what_was_compacted(
    clients: list[Client], prefix: bytes
) -> None:
    key = prefix + b"compact_rev_key"
    now = claim_compaction(clients[0], 0, 0, key).header.revision
    with clients[1].watch() as stream:
        stream.create(key, start_revision=now)
        assert stream.receive().created
        later = claim_compaction(clients[0], 1, now, key).header.revision
        clients[0].compact(now)
        events = [event for _, event in itertools.islice(stream.events(), 2)]
    assert [(event.kv.mod_revision, event.kv.value) for event in events] == [
        (now, b"0"),
        (later, str(now).encode()),
    ]


# --- watches --------------------------------------------------------------------------------------


def test_a_watch_tells_what_each_object_was_before(client: Client, prefix: bytes) -> None:
    before = client.range(prefix).header.revision
    with watch(client, prefix, before) as stream:
        made = create(client, prefix + b"a", b"one").header.revision
        changed = update(client, prefix + b"a", b"two", made).header.revision
        gone = delete(client, prefix + b"a", changed).header.revision
        events = [event for _, event in itertools.islice(stream.events(), 3)]
    put, put_again, deleted = events
    assert put.kv.create_revision == put.kv.mod_revision == made and not put.HasField("prev_kv")
    assert (put_again.kv.mod_revision, put_again.prev_kv.value) == (changed, b"one")
    assert deleted.type == kv.Event.DELETE
    assert (deleted.kv.key, deleted.kv.mod_revision) == (prefix + b"a", gone)
    assert (deleted.prev_kv.value, deleted.prev_kv.mod_revision) == (b"two", changed)


def test_a_resumed_watch_misses_and_repeats_nothing(clients: list[Client], prefix: bytes) -> None:
    last = clients[0].range(prefix).header.revision
    end = fill(clients[0], prefix, 60)
    seen: list[bytes] = []
    for client in itertools.cycle(clients):
        with watch(client, prefix, last) as stream:
            for _, event in itertools.islice(stream.events(), 7):
                seen.append(event.kv.key)
                last = event.kv.mod_revision
                if last == end:
                    break
        if last == end:
            break
    assert seen == [prefix + b"%05d" % number for number in range(60)]


def test_all_changes_of_a_revision_come_in_one_response(client: Client, prefix: bytes) -> None:
    before = client.range(prefix).header.revision
    keys = [prefix + b"%d" % number for number in range(100)]
    with watch(client, prefix, before) as stream:
        put_all(client, keys)
        assert len(stream.receive().events) == 100


def test_a_watch_from_a_compacted_revision_ends_with_the_revision_to_list_from(
    client: Client, prefix: bytes
) -> None:
    last = fill(client, prefix, 5)
    client.compact(last)
    with client.watch() as stream:
        stream.create(prefix, prefix_end(prefix), start_revision=last - 2, prev_kv=True)
        answers = [stream.receive()]
        while not answers[-1].canceled:
            answers.append(stream.receive())
    assert answers[-1].compact_revision == last


def test_a_watch_from_a_later_revision_waits_for_it(client: Client, prefix: bytes) -> None:
    now = client.range(prefix).header.revision
    with watch(client, prefix, now + 2) as stream:
        fill(client, prefix, 4)
        _, first = next(stream.events())
    assert first.kv.mod_revision == now + 3


def test_a_quiet_watch_is_told_the_revision(client: Client, prefix: bytes) -> None:
    now = client.range(prefix).header.revision
    with watch(client, prefix, now, notices=True) as stream:
        elsewhere = create(client, prefix[:-1] + b"-other", b"").header.revision
        while (told := stream.receive()).header.revision < elsewhere:
            assert not told.events
        assert not told.events and told.watch_id == 0


def test_progress_is_never_ahead_of_the_events(clients: list[Client], prefix: bytes) -> None:
    """On every member, also for several watches of one stream, while objects are written."""
    for member, client in enumerate(clients):
        objects = prefix + b"%d/" % member
        stop = threading.Event()
        writer = threading.Thread(target=_write, args=(clients, objects, stop))
        with watch(client, objects, client.range(objects).header.revision) as stream:
            stream.create(objects, prefix_end(objects))
            writer.start()
            try:
                promised = progressed = 0
                while progressed < 50:
                    stream.progress()
                    answer = stream.receive()
                    assert all(event.kv.mod_revision > promised for event in answer.events)
                    if answer.watch_id == -1:
                        assert not answer.events and answer.header.revision >= max(promised, 1)
                        promised = answer.header.revision
                        progressed += 1
            finally:
                stop.set()
                writer.join()


def _write(clients: list[Client], prefix: bytes, stop: threading.Event) -> None:
    """Create objects until `stop`."""
    for number in itertools.count():
        if stop.is_set():
            return
        create(clients[number % 3], prefix + b"%d" % number, b"")


def test_progress_reaches_the_revision_that_was_read(clients: list[Client], prefix: bytes) -> None:
    """A consistent list from the cache waits for it."""
    now = clients[0].range(prefix).header.revision
    with watch(clients[1], prefix, now) as stream:
        for number in range(20):
            create(clients[2], prefix[:-1] + b"-other/%d" % number, b"")
            read = clients[0].range(prefix + b"none", limit=1).header.revision
            reached = 0
            while reached < read:
                stream.progress()
                # Not answered while a watch is behind; the API server asks again after 100 ms.
                with contextlib.suppress(queue.Empty):
                    reached = stream.receive(timeout=0.1).header.revision


def test_revisions_of_a_streams_headers_only_rise(client: Client, prefix: bytes) -> None:
    now = client.range(prefix).header.revision
    with watch(client, prefix, now, notices=True) as stream:
        for number in range(20):
            stream.create(prefix + b"%d" % number, start_revision=now + 1, prev_kv=True)
        last = fill(client, prefix, 100)
        revisions = []
        while not revisions or revisions[-1] < last:
            stream.progress()
            revisions.append(stream.receive().header.revision)
    assert revisions == sorted(revisions)


# --- leases ---------------------------------------------------------------------------------------


def test_a_thousand_objects_of_a_lease_end_in_one_revision(
    clients: list[Client], prefix: bytes
) -> None:
    lease = clients[0].grant(ttl=3).ID
    now = clients[0].range(prefix).header.revision
    for first in range(0, 1000, 100):
        keys = [prefix + b"%04d" % number for number in range(first, first + 100)]
        now = put_all(clients[first // 100 % 3], keys, b"event", lease)
    with watch(clients[1], prefix, now) as stream:
        events = [event for _, event in itertools.islice(stream.events(timeout=60), 1000)]
    assert {event.type for event in events} == {kv.Event.DELETE}
    assert len({event.kv.mod_revision for event in events}) == 1
    assert {event.prev_kv.value for event in events} == {b"event"}
    assert clients[2].range(prefix, prefix_end(prefix), count_only=True).count == 0


# --- connections ----------------------------------------------------------------------------------


def test_every_member_says_a_version_that_can_report_progress(
    cluster: LocalCluster, clients: list[Client]
) -> None:
    for client in clients:
        status = client.status()
        version = tuple(map(int, status.version.split(".")))
        assert len(version) == 3 and version >= (3, 5, 13)
        assert status.dbSize > 0 and status.leader


def test_the_health_check_of_the_api_server_is_answered(clients: list[Client]) -> None:
    for client in clients:
        assert client.range(b"/registry/health", timeout=2).header.revision > 0


def test_any_authority_is_served(cluster: LocalCluster) -> None:
    """Go's client with several endpoints sends all of them in it."""
    named = f"#initially=[{';'.join(cluster.endpoints)}]"
    channel = grpc.insecure_channel(
        cluster.endpoints[0], options=[("grpc.default_authority", named)]
    )
    with channel:
        method = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=rpc.RangeRequest.SerializeToString,
            response_deserializer=rpc.RangeResponse.FromString,
        )
        assert method(rpc.RangeRequest(key=b"a"), timeout=TIMEOUT).header.revision > 0


def test_hundreds_of_connections_of_one_api_server_are_served(cluster: LocalCluster) -> None:
    opened = [Client(endpoint) for endpoint in cluster.endpoints for _ in range(70)]
    try:
        for client in opened:
            assert client.range(b"/registry/health").header.revision > 0
    finally:
        for client in opened:
            client.close()


def test_pings_are_answered_while_a_long_request_runs(cluster: LocalCluster, prefix: bytes) -> None:
    """A client gives a connection up whose ping is not answered within 10 s."""
    with Client(cluster.endpoints[cluster.leader()]) as client:
        for first in range(0, 20_000, 100):
            put_all(client, [prefix + b"%05d" % number for number in range(first, first + 100)])
        host, port = client.endpoint.split(":")
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        with (
            socket.create_connection((host, int(port)), timeout=10) as raw,
            ThreadPoolExecutor(1) as beside,
        ):
            deleted = beside.submit(client.delete, prefix, prefix_end(prefix))
            connection.ping(b"busy now")
            raw.sendall(connection.data_to_send())
            answered = False
            while not answered:
                events = connection.receive_data(raw.recv(65536))
                answered = any(isinstance(event, h2.events.PingAckReceived) for event in events)
            assert deleted.result().deleted == 20_000


# --- range streams --------------------------------------------------------------------------------


def test_a_range_stream_is_a_list_in_parts(client: Client, prefix: bytes) -> None:
    fill(client, prefix, 300)
    method = client.channel.unary_stream(
        "/etcdserverpb.KV/RangeStream",
        request_serializer=rpc.RangeRequest.SerializeToString,
        response_deserializer=rpc.RangeStreamResponse.FromString,
    )
    asked = rpc.RangeRequest(key=prefix, range_end=prefix_end(prefix))
    parts = [part.range_response for part in method(asked, timeout=TIMEOUT)]
    found = [each.key for part in parts for each in part.kvs]
    assert found == [prefix + b"%05d" % number for number in range(300)]
    assert len(parts) > 1
    assert all(part.count == 0 and not part.more for part in parts[:-1])
    assert parts[-1].count == 300 and parts[-1].header.revision > 0


# --- without a leader -----------------------------------------------------------------------------


def test_a_stream_that_requires_a_leader_ends_without_one() -> None:
    """So that the client goes to another member. Its own cluster, since two members are ended."""
    with LocalCluster(3, binary=[command(SUBJECT)]) as cluster:
        left = (cluster.leader() + 1) % 3
        with (
            Client(cluster.endpoints[left], metadata={"hasleader": "true"}) as client,
            client.watch() as stream,
        ):
            stream.create(b"/registry/pods/", b"/registry/pods0", prev_kv=True)
            assert stream.receive().created
            for index in range(3):
                if index != left:
                    cluster.kill(index)
            with pytest.raises(Refused) as refused:
                stream.receive(timeout=30)
    assert refused.value == Refused("UNAVAILABLE", "etcdserver: no leader")


def test_a_watch_without_events_stays_quiet(client: Client, prefix: bytes) -> None:
    """Nothing but events and what was asked for: no notices that were not requested."""
    now = client.range(prefix).header.revision
    with watch(client, prefix, now) as stream, pytest.raises(queue.Empty):
        stream.receive(timeout=0.5)
