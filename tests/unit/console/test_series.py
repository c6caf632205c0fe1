"""Rates and percentiles of an interval, and the rows made of them."""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
from typing import Any

import pytest

from rusd.base.distribution import DISK_SECONDS, FINE_DISK_SECONDS, Distribution, exponential
from rusd.console.samples import INTERVAL, ROWS, Samples
from rusd.console.series import Percentiles, Rate, State, percentile
from rusd.door.http.body import Body, BodyMemory
from rusd.door.http.router import page_request
from rusd.rpc.call import Caller


def test_a_rate_is_the_growth_of_the_interval_and_never_negative() -> None:
    values = iter((10.0, 30.0, 30.0, 5.0, 6.0))
    rate = Rate("puts_per_s", lambda: next(values))
    assert [rate.read(2.0) for _ in range(4)] == [(10.0,), (0.0,), (0.0,), (0.5,)]


def test_percentiles_are_of_the_interval_alone() -> None:
    seen, other = Distribution((0.001, 0.002)), Distribution((0.001, 0.002))
    seen.observe(1.0)
    series = Percentiles("write", lambda: [seen, other])
    assert series.names == ("write_p50_ms", "write_p99_ms")
    assert all(map(math.isnan, series.read(2.0))), "nothing since"
    for _ in range(98):
        seen.observe(0.0005)
    for _ in range(2):
        other.observe(0.0015)
    half, most = series.read(2.0)
    assert half == pytest.approx(50 / 98)
    assert 1.0 < most < 2.0


def test_a_percentile_is_as_exact_as_its_bucket() -> None:
    bounds = exponential(0.0001, 1.5, 28)
    durations = sorted(random.Random(1).lognormvariate(-6, 1) for _ in range(5000))
    seen = Distribution(bounds)
    for one in durations:
        seen.observe(one)
    for share in (0.01, 0.5, 0.9, 0.99):
        right = durations[int(share * len(durations))]
        assert right / 1.5 < percentile(bounds, seen.counts, share) < right * 1.5
    assert percentile((1.0,), [0, 3], 0.5) == 1.0, "longer than all bounds: at least the last"
    assert math.isnan(percentile((1.0,), [0, 0], 0.5))


def test_fewer_buckets_hold_the_same_observations() -> None:
    """Metrics have etcd's buckets, whatever the member counts in."""
    fine, coarse = Distribution(FINE_DISK_SECONDS), Distribution(DISK_SECONDS)
    for one in (*FINE_DISK_SECONDS, 0.0, 1e-5, 0.0007, 0.0011, 3.0, 100.0):
        fine.observe(one)
        coarse.observe(one)
    found = fine.within(DISK_SECONDS)
    assert (found.bounds, found.counts, found.sum) == (DISK_SECONDS, coarse.counts, coarse.sum)


def asked(samples: Samples, query: str = "") -> dict[str, Any]:
    target = f"/console/api/samples{query}"
    request = page_request("GET", target, {}, Body(None, BodyMemory()), Caller("test"))
    found: dict[str, Any] = json.loads(asyncio.run(samples.find(request)))
    return found


def test_rows_of_the_last_15_minutes_are_kept_and_asked_for_from_a_time_on() -> None:
    values = iter(range(10**6))
    samples = Samples([State("a", lambda: next(values)), State("b", lambda: math.nan)])
    for row in range(ROWS + 50):
        samples.add(1000 + 2000 * row, 2.0)
    assert ROWS * INTERVAL == 15 * 60
    found = asked(samples)
    assert (found["interval"], found["names"], len(found["rows"])) == (INTERVAL, ["a", "b"], ROWS)
    assert found["rows"][0] == [1000 + 2000 * 50, 50, None]
    last = found["rows"][-1][0]
    assert asked(samples, f"?since={last - 2000}")["rows"] == [[last, ROWS + 49, None]]
    assert asked(samples, f"?since={last}")["rows"] == []
    assert asked(samples, f"?since={'9' * 19}")["rows"] == []


def test_the_rows_have_bounded_memory() -> None:
    samples = Samples([State(f"name_{n}", lambda: 12345678901.234) for n in range(30)])
    for row in range(2 * ROWS):
        samples.add(1795712539076 + row, 2.0)
    size = sum(sys.getsizeof(row) + sys.getsizeof(time) + 56 for time, row in samples._rows)
    assert size < 512 << 10
