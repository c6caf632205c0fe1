"""`--socket-reuse-port`: a member listens on ports that others share."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from rusd.config import Config
from rusd.member.member import Member
from tests.support.ports import free_ports
from tests.unit.member.test_interrupted_start import config


async def started(*configs: Config) -> None:
    members = [Member(each) for each in configs]
    try:
        for member in members:
            await member.start()
    finally:
        for member in members:
            await member.stop()


def test_client_peer_and_metrics_ports_are_shared_by_members_that_ask_for_it(
    tmp_path: Path,
) -> None:
    ports = [f"http://127.0.0.1:{port}" for port in free_ports(3)]
    first = replace(
        config(tmp_path / "first", ports[0]),
        listen_metrics_urls=(ports[1],),
        listen_client_http_urls=(ports[2],),
        socket_reuse_port=True,
    )
    second = replace(first, data_dir=str(tmp_path / "second"))
    asyncio.run(started(first, second))
    for field in ("client", "metrics", "client_http", "peer"):
        # Each listener alone is refused without the flag: the others have ports of their own.
        name = f"listen_{field}_urls"
        alone = replace(config(tmp_path / field), **{name: getattr(first, name)})
        with pytest.raises(OSError, match="Address already in use"):
            asyncio.run(started(first, alone))
