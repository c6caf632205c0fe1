"""A process that is one Raft member over a toy state: `python -m tests.support.toy_member …`.

Commands come as lines on standard input, answers go out as lines on standard output:

    load N      propose as fast as answers come, N at a time; prints `ack <payload>` for each
    idle        stop proposing; prints `idle` once nothing waits
    dump        prints `dump <json of all payloads applied>`
    status      prints `status <leader> <term> <applied> <commit>`
"""

import asyncio
import json
import os
import sys
import threading
from functools import partial
from pathlib import Path

import uvloop

from rusd.base.errors import Refusal
from rusd.base.logs import configure
from rusd.raft.config import RaftConfig
from rusd.raft.node import RaftNode
from tests.support.toy_machine import ToyMachine


class Load:
    """A closed loop of proposals."""

    def __init__(self, node: RaftNode) -> None:
        self.node = node
        self.running = 0
        self.wanted = 0
        self.count = 0

    def fill(self) -> None:
        while self.running < self.wanted:
            self.count += 1
            text = f"{self.node.member_id}-{os.getpid()}-{self.count}"
            self.running += 1
            future = self.node.propose(text.encode())
            future.add_done_callback(partial(self.done, text))

    def done(self, text: str, future: "asyncio.Future[object]") -> None:
        self.running -= 1
        error = future.exception()
        if error is None:
            say(f"ack {text}")
            self.fill()
        elif isinstance(error, Refusal):
            say(f"failed {text} {error}")
            asyncio.get_running_loop().call_later(0.01, self.fill)
        else:
            raise error


def say(line: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(member: int, ports: list[int], directory: Path) -> None:
    """Run the member until it fails."""
    urls = {number: [f"http://127.0.0.1:{port}"] for number, port in enumerate(ports, 1)}
    machine = ToyMachine(directory / "state")
    config = RaftConfig(
        member_id=member,
        cluster_id=1,
        peers=urls,
        directory=directory,
        listen_peer_urls=urls[member],
        snapshot_count=2000,
        catchup_entries=200,
    )
    node = RaftNode(config, machine)
    await node.start()
    load = Load(node)
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[list[str]] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line.split())
        os._exit(0)  # the launching process is gone

    threading.Thread(target=read, daemon=True).start()
    failed = asyncio.ensure_future(node.wait_failed())
    failed.add_done_callback(lambda _: os._exit(3))
    say("ready")
    while True:
        command = await commands.get()
        if command[0] == "load":
            load.wanted = int(command[1])
            load.fill()
        elif command[0] == "idle":
            load.wanted = 0
            while load.running:
                await asyncio.sleep(0.01)
            say("idle")
        elif command[0] == "dump":
            say("dump " + json.dumps(machine.payloads))
        elif command[0] == "status":
            say(f"status {node.leader_id} {node.term} {node.applied_index} {node.commit_index}")


if __name__ == "__main__":
    configure("info", "console", ("stderr",))
    uvloop.run(
        main(int(sys.argv[1]), [int(one) for one in sys.argv[2].split(",")], Path(sys.argv[3]))
    )
