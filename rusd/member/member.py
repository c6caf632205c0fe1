"""The life of one member: start, run until failure or stop, ordered shutdown.

Clients are served when this member's publication is applied here. The member has caught up then, so
that no client sees an outdated or empty store. The client URLs are bound from the beginning: an
early client is connected, and waits. A member without a quorum at its start answers on
`--listen-metrics-urls` alone. All of this is as in etcd.

Everything runs on one event loop. An error after which the member must not go on (a failed turn of
Raft, a full or damaged disk, removal from the cluster) is raised by `wait_failed`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from rusd.base.logs import get_logger
from rusd.base.supervised import Tasks
from rusd.base.urls import Url
from rusd.config import Config
from rusd.door.listen.listener import Bindings
from rusd.door.tls.peer import PeerTls, peer_tls
from rusd.member.assemble import Components, assemble
from rusd.member.bootstrap import establish, query_existing_cluster
from rusd.member.data_directory import prepare
from rusd.member.discovery.discovery import discovered
from rusd.member.force_new_cluster import force_new_cluster
from rusd.member.identity import Identity, known_membership
from rusd.member.member_list import check_not_removed
from rusd.member.publication import publish
from rusd.raft.transport.member_query import Cluster
from rusd.rpc.errors import STOPPED
from rusd.state.machine import StateMachine
from rusd.state.members import Member as MemberRecord

log = get_logger(__name__)

Background = Coroutine[Any, Any, None]

#: Seconds that open calls have to end when the member stops.
DRAIN = 1.0


class Member:
    """A member as configured: `start`, then `wait_failed` until `stop`."""

    def __init__(self, config: Config, on_ready: Callable[[], None] = lambda: None) -> None:
        """`on_ready` is called once: clients are served and this member's name and URLs are
        published.
        """
        self._config = config
        self._on_ready = on_ready
        #: None before the data directory is open.
        self._components: Components | None = None
        #: Closes what was opened for them.
        self._opened = ExitStack()
        self._tasks = Tasks(self._fail)
        #: Publishes this member, then serves clients.
        self._serving = Tasks(self._fail)

    async def start(self) -> None:
        """Open the data and join the others. Clients are served from the background, see above.

        Raises ConfigError (data that is not a member's), StorageError, JournalError or OSError (a
        port that is taken).
        """
        loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(self._on_loop_exception)
        prepare(self._config)
        with ExitStack() as opened:
            http = self._bound(self._config.listen_client_http_urls, opened)
            grpc = self._bound(self._config.listen_client_urls, opened)
            config = self._config = await discovered(self._config)
            tls = peer_tls(config)
            found = await query_existing_cluster(config, tls)
            identity, components = self._open(found, tls, opened)
            self._components = components
            self._opened = opened.pop_all()
        machine, node = components.machine, components.node
        known = known_membership(config, machine).urls
        others = [urls for member, urls in known.items() if member != identity.member_id]
        components.watchdog.start()
        await check_not_removed(identity, others, tls)
        await node.start()
        if config.initial_corrupt_check:
            await components.corruption.check_before_serving(config.election_timeout / 1000)
        for name, work in self._background(components):
            self._tasks.start(name, work)
        if machine.store.finished_compact_revision < machine.store.compact_revision:
            components.compactor.schedule(machine.store.compact_revision)
        metrics = self._bound(config.listen_metrics_urls, self._opened)
        serve = self._serve(identity.member_id, components, http, grpc)
        self._serving.start("serve clients", serve)
        await components.metrics_http.start(metrics, components.tls)

    async def stop(self) -> None:
        """Transfer leadership, drain, close; also after a start that failed or was cancelled."""
        components = self._components
        if components is None:
            return
        components.health.drain()
        # No listener is made from here on.
        await self._serving.stop()
        # Each step is taken whatever becomes of the ones before it.
        async with AsyncExitStack() as last_first:
            last_first.callback(self._opened.close)
            last_first.callback(components.watchdog.stop)
            last_first.push_async_callback(components.compactor.stop)
            last_first.push_async_callback(components.snapshots.stop)
            last_first.push_async_callback(self._tasks.stop)
            last_first.push_async_callback(components.metrics_http.stop)
            last_first.push_async_callback(components.http.stop)
            last_first.push_async_callback(components.door.stop, DRAIN)
            if components.gateway is not None:
                last_first.callback(components.gateway.stop)
            last_first.callback(lambda: components.hub.close(STOPPED()))
            await components.node.stop()

    async def wait_failed(self) -> None:
        """Wait for an error that ends this member, and raise it."""
        await self._failure

    def _open(
        self, found: Cluster | None, tls: PeerTls, opened: ExitStack
    ) -> tuple[Identity, Components]:
        """Open the state, establish this member's identity, and build what stands above."""
        config = self._config
        machine = StateMachine(config.member_path / "state")
        opened.callback(machine.close)
        if config.force_new_cluster:
            force_new_cluster(config, machine)
        identity = establish(config, machine, found)
        return identity, assemble(config, machine, identity, tls, self._fail, opened)

    def _bound(self, urls: Sequence[Url], opened: ExitStack) -> Bindings:
        """Bind `urls`, until a door accepts on them or `opened` is closed. Raises OSError."""
        bindings = Bindings(urls, reuse_port=self._config.socket_reuse_port)
        return opened.enter_context(bindings)

    # Background work

    def _background(self, components: Components) -> Iterator[tuple[str, Background]]:
        """Yield the background tasks, which run as long as the member does."""
        config, node = self._config, components.node
        yield "Raft", node.wait_failed()
        yield "lease expiry", components.lessor.run()
        yield "leadership transfer", components.low_disk_transfer.run()
        yield "sessions", components.sessions.run()
        yield "round trips", components.round_trips.run()
        yield "member list", components.member_list.run()
        yield "cluster version", components.cluster_version.run()
        if config.enable_console:
            yield "console", components.console.run()
        if components.backups is not None:
            yield "backups", components.backups.run()
        if components.archiver is not None:
            yield "archive", components.archiver.run()
        if components.auto_compaction is not None:
            yield "auto compaction", components.auto_compaction.run()
        if config.corrupt_check_time > 0:
            interval = config.corrupt_check_time
            yield "corruption check", components.corruption.check_every(interval)
        if config.compact_hash_check:
            interval = config.compact_hash_check_time
            yield "compact hash check", components.corruption.check_compactions_every(interval)

    async def _serve(
        self, member_id: int, components: Components, http: Bindings, grpc: Bindings
    ) -> None:
        """Publish this member, then accept the connections of clients."""
        urls = tuple(map(str, self._config.advertise_client_urls))
        member = MemberRecord(id=member_id, name=self._config.name, client_urls=urls)
        if not await publish(components.node, member):
            return
        await components.http.start(http, components.tls)
        await components.door.start(grpc, components.tls)
        for url in self._config.client_urls:
            fields = {"fields": {"address": url}}
            log.info("ready to serve client requests", extra=fields)
            if url.scheme in ("https", "unixs"):
                log.info("serving client traffic securely", extra=fields)
            else:
                log.info(
                    "serving client traffic insecurely; this is strongly discouraged!",
                    extra=fields,
                )
        self._on_ready()
        components.http.load()
        components.metrics_http.load()

    # Failure

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the member: a callback of a timer or event raised, so its component's state is
        unknown.
        """
        error = context.get("exception")
        log.critical(
            "unhandled failure", extra={"fields": {"where": context["message"]}}, exc_info=error
        )
        if error is not None and "handle" in context:
            self._fail(error)
