"""Medians of traced calls."""

from tests.bench.trace.stages import Stage, fastest, stages


def test_a_stage_is_timed_from_the_call_and_without_the_stages_in_it() -> None:
    notes = {
        "leader": [
            ("turn", 11_000, 19_000),
            ("fdatasync", 12_000, 17_000),
            ("fdatasync", 17_000, 18_000),
            ("turn", 25_000, 26_000),
            ("turn", 103_000, 111_000),
            ("fdatasync", 104_000, 109_000),
            ("late", 140_000, 141_000),
        ]
    }
    calls = [(10_000, 20_000), (100_000, 130_000)]
    assert stages(notes, calls) == [
        Stage("leader", "turn", 2.0, 8.0, 2.5),
        Stage("leader", "fdatasync", 3.0, 5.0, 5.0),
        Stage("leader", "fdatasync (2)", 7.0, 1.0, 1.0),
    ]
    assert fastest(calls, 0.5) == calls[:1]
