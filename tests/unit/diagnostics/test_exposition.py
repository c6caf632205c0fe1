"""Reads pages of metrics as etcd and rusd write them."""

from __future__ import annotations

from rusd.diagnostics.exposition import grown, parse

PAGE = """\
# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 8
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 90
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"} 100
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 100
etcd_disk_wal_fsync_duration_seconds_count 100
etcd_network_active_peers{Local="a",Remote="b"} 1
etcd_network_active_peers{Local="a",Remote="c"} 0
etcd_server_quota_backend_bytes 2.147483648e+09
go_gc_duration_seconds{quantile="0"} NaN
broken line here
etcd_odd{label="with \\"quotes\\", and, commas"} 3
"""


def test_counters_and_gauges_are_read_by_name_and_label() -> None:
    page = parse(PAGE)
    assert page.total("etcd_server_quota_backend_bytes") == 2147483648
    assert page.total("etcd_network_active_peers") == 1
    assert page.total("etcd_network_active_peers", Remote="c") == 0
    assert page.total("etcd_network_active_peers", Remote="d") is None
    assert page.total("etcd_odd") == 3


def test_only_the_prefixes_that_are_wanted_are_kept() -> None:
    page = parse(PAGE, ("etcd_server_",))
    assert page.total("etcd_odd") is None
    assert page.total("etcd_server_quota_backend_bytes") is not None


def test_a_quantile_is_the_bound_of_its_bucket() -> None:
    found = parse(PAGE).histogram("etcd_disk_wal_fsync_duration_seconds")
    assert found is not None
    assert (found.quantile(0.05), found.quantile(0.9), found.quantile(0.99)) == (
        0.001,
        0.002,
        0.004,
    )


def test_a_histogram_since_another_has_only_the_observations_between() -> None:
    name = "etcd_disk_wal_fsync_duration_seconds"
    before = parse(PAGE).histogram(name)
    after = parse(PAGE.replace('"0.004"} 100', '"0.004"} 101').replace('Inf"} 100', 'Inf"} 103'))
    later = after.histogram(name)
    assert before is not None and later is not None
    recent = later.since(before)
    assert (recent.count, recent.quantile(0.3), recent.quantile(0.99)) == (3, 0.004, 0.004)
    assert before.since(before).quantile(0.5) is None


def test_a_counter_that_shrank_began_anew() -> None:
    before, after = parse("etcd_x_total 10"), parse("etcd_x_total 4")
    assert grown(before, after, "etcd_x_total") == 4
    assert grown(after, before, "etcd_x_total") == 6
    assert grown(None, after, "etcd_x_total") is None
