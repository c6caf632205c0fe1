"""Watch as scripts: what a client asks, what happens in the store, what the client reads.

The scripts are in `scripts/`; `tests/support/testscript.py` says how to read and record them.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rusd.proto import rpc_pb2 as rpc
from tests.support.testscript import Command, Run, replay
from tests.unit.watch.scene import Client, Scene

SCRIPTS = sorted((Path(__file__).parent / "scripts").iterdir())
FILTERS = {"noput": rpc.WatchCreateRequest.NOPUT, "nodelete": rpc.WatchCreateRequest.NODELETE}


def complete(run: Callable[[Command], str | Iterable[str] | None]) -> Run:
    """A command whose output is made before its arguments are checked."""

    def complete_run(command: Command) -> str | list[str]:
        output = run(command)
        return output if isinstance(output, str) else list(output or ())

    return complete_run


class Session:
    """A hub and its clients, by name."""

    def __init__(self, directory: Path) -> None:
        self.scene = Scene(directory, progress_interval=10)
        self.clients: dict[str, Client] = {}

    def commands(self) -> dict[str, Any]:
        names = ("put", "del", "txn", "compact", "stream", "watch", "cancel", "progress", "close",
                 "read", "receive", "wait", "work", "states", "snapshot", "fragments")  # fmt: skip
        return {name: complete(getattr(self, "run_" + name)) for name in names}

    def _client(self, command: Command) -> Client:
        return self.clients[command.argument()]

    def run_put(self, command: Command) -> str:
        key, value = command.argument().encode(), command.argument("v").encode()
        return f"revision {self.scene.put(key, value=value)}"

    def run_del(self, command: Command) -> str:
        return f"revision {self.scene.delete(command.argument().encode())}"

    def run_txn(self, command: Command) -> str:
        """Put all keys in one revision."""
        return f"revision {self.scene.put(*(key.encode() for key in command.rest()))}"

    def run_snapshot(self, command: Command) -> str:
        """Keys that come with a snapshot, each in a revision of its own, instead of the log."""
        for key in command.rest():
            self.scene.change(puts=[(key.encode(), b"v")], publish=False)
        self.scene.hub.restored()
        return f"revision {self.scene.hub.revision}"

    def run_compact(self, command: Command) -> None:
        self.scene.compact(int(command.argument()))

    def run_fragments(self, command: Command) -> None:
        """Split responses of so many bytes."""
        self.scene.hub._fragment_bytes = int(command.argument())

    def run_stream(self, command: Command) -> None:
        room = command.option("room", "")
        self.clients[command.argument()] = self.scene.client(int(room) if room else None)

    def run_watch(self, command: Command) -> None:
        client = self._client(command)
        flags = {
            name: command.option(name, "no") == "yes"
            for name in ("prev_kv", "fragment", "progress_notify")
        }
        filters = [FILTERS[name] for name in command.option("filters", "").split(",") if name]
        client.create(
            command.argument().encode(),
            command.argument("").encode().replace(b"*", b"\0"),
            start_revision=int(command.option("from", "0")),
            watch_id=int(command.option("id", "0")),
            filters=filters,
            **flags,
        )

    def run_cancel(self, command: Command) -> None:
        self._client(command).stream.cancel(int(command.argument()))

    def run_progress(self, command: Command) -> None:
        self._client(command).stream.progress()

    def run_close(self, command: Command) -> None:
        self._client(command).stream.close()

    def run_wait(self, command: Command) -> None:
        self.scene.loop.advance(float(command.argument()))

    def run_work(self, command: Command) -> None:
        """Let the hub read history as far as response streams are ready."""
        self.scene.loop.advance()

    def run_read(self, command: Command) -> Iterator[str]:
        """Read until nothing more comes."""
        for response in self._client(command).read():
            yield from shown(response)

    def run_receive(self, command: Command) -> Iterator[str]:
        """Read what is in the buffer, without a turn for the hub."""
        client = self._client(command)
        for response in client.take():
            yield from shown(response)
        client.stream.drained()

    def run_states(self, command: Command) -> Iterator[str]:
        for name, client in self.clients.items():
            for watch_id, watcher in client.stream.state.watchers.items():
                behind = f", next revision {watcher.next}" if watcher.next else ""
                yield f"{name}/{watch_id} {watcher.state.name.lower()}{behind}"


def shown(response: rpc.WatchResponse) -> Iterator[str]:
    head = f"watcher {response.watch_id}:"
    if response.created and response.canceled:
        yield f"refused: {response.cancel_reason}"
    elif response.created:
        yield f"{head} created at revision {response.header.revision}"
    elif response.compact_revision:
        yield f"{head} canceled, compacted at {response.compact_revision}"
    elif response.canceled:
        yield f"{head} canceled"
    elif not response.events:
        whole = "all watchers" if response.watch_id == -1 else f"watcher {response.watch_id}"
        yield f"{whole}: progress at revision {response.header.revision}"
    else:
        more = ", more fragments follow" if response.fragment else ""
        yield f"{head} revision {response.header.revision}{more}"
        for event in response.events:
            before = f", before {event.prev_kv.value.decode()!r}" if event.prev_kv.key else ""
            value = "" if event.type else f" = {event.kv.value.decode()!r}"
            yield (
                f"  {event.kv.mod_revision} {'delete' if event.type else 'put'}"
                f" {event.kv.key.decode()}{value}{before}"
            )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_hub_answers_each_script_as_recorded(script: Path, tmp_path: Path) -> None:
    session = Session(tmp_path)
    replay(script, session.commands())
    session.scene.engine.close()
