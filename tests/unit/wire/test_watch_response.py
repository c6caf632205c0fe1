"""Hand-made messages against protobuf's own encoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.base.chunks import whole
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.wire import watch_response
from rusd.wire.keyvalue import Event
from tests.unit.watch.scene import header

INT64 = st.integers(-(2**63), 2**63 - 1)
REVISIONS = st.integers(0, 2**63 - 1)
KEY_VALUES = st.builds(
    kv_pb2.KeyValue, key=st.binary(), value=st.binary(max_size=300), mod_revision=REVISIONS
)


def message(revision: int, **fields: object) -> bytes:
    response = rpc.WatchResponse.FromString(header(revision))
    response.MergeFrom(rpc.WatchResponse(**fields))
    return response.SerializeToString()


@given(REVISIONS, INT64, st.integers(1, 2**63 - 1), st.text(min_size=1))
def test_responses_without_events_are_encoded_as_by_protobuf(
    revision: int, watch_id: int, compact: int, reason: str
) -> None:
    head = header(revision)
    assert watch_response.created(head, watch_id) == message(
        revision, watch_id=watch_id, created=True
    )
    assert watch_response.canceled(head, watch_id) == message(
        revision, watch_id=watch_id, canceled=True
    )
    assert watch_response.progress(head, -1) == message(revision, watch_id=-1)
    assert watch_response.compacted(head, watch_id, compact) == message(
        revision, watch_id=watch_id, canceled=True, compact_revision=compact
    )
    assert watch_response.refused(head, reason) == message(
        revision, watch_id=-1, created=True, canceled=True, cancel_reason=reason
    )


@given(KEY_VALUES, st.none() | KEY_VALUES, st.booleans(), st.booleans())
def test_events_are_encoded_as_by_protobuf(
    kv: kv_pb2.KeyValue, prev: kv_pb2.KeyValue | None, delete: bool, prev_kv: bool
) -> None:
    event = Event(
        int(delete),
        kv.key,
        kv.mod_revision,
        0,
        kv.SerializeToString(),
        None if prev is None else prev.SerializeToString(),
    )
    expected = kv_pb2.Event(type=int(delete), kv=kv, prev_kv=prev if prev_kv else None)
    assert watch_response.event_field(event, prev_kv) == message(1, events=[expected]).removeprefix(
        header(1)
    )


@given(
    st.lists(st.integers(0, 400), min_size=2, max_size=30),
    st.integers(50, 500),
    st.integers(0, 400),
)
def test_fragments_join_to_the_whole_and_stay_below_the_limit(
    sizes: list[int], limit: int, joined: int
) -> None:
    events = [kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"k", value=b"x" * size)) for size in sizes]
    fields = [message(1, events=[event]).removeprefix(header(1)) for event in events]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch_response, "JOINED_BYTES", joined)
        fragments = watch_response.fragments(
            header(1), watch_response.watch_id_field(5), fields, limit
        )
        parts = list(map(whole, fragments))
    responses = [rpc.WatchResponse.FromString(part) for part in parts]
    assert [event for response in responses for event in response.events] == events
    assert [response.fragment for response in responses] == [True] * (len(parts) - 1) + [False]
    assert {(r.watch_id, r.header.revision) for r in responses} == {(5, 1)}
    for part, response in zip(parts, responses, strict=True):
        assert len(part) < limit or len(response.events) == 1
