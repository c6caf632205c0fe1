"""Clusters for tests, and the single member: addresses, faults and `reset`.

Used as a context manager:

with Server() as server:
    connect(server.url)

with Cluster(3, tls=True, auth=True) as cluster:
    cluster.partition(cluster.leader())
    cluster.heal()
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import ports, wire
from ..chaos.network import CUT, Network, NoNetwork
from ..chaos.proxy import between
from ..local import ClusterError, LocalCluster
from ..tls import Tls
from . import accounts, wipe
from .accounts import Login

#: No data of a test outlives the machine, and logins are not what is measured.
FLAGS = ("--unsafe-no-fsync", "--bcrypt-cost=4")

#: The only user of a cluster with `auth=True`.
LOGIN = Login("root", "root")

#: Seconds until the members must be healthy again in `heal`.
HEAL_TIMEOUT = 30.0
#: The same in `reset`, which starts new members after it.
RESET_TIMEOUT = 10.0

_MEMBERS = "/etcdserverpb.Cluster/MemberList"


class Cluster(LocalCluster):
    """A LocalCluster with addresses for clients, faults without rights, and `reset`."""

    def __init__(
        self,
        size: int = 3,
        *,
        binary: Sequence[str] | None = None,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        tls: bool = False,
        auth: bool = False,
        directory: Path | str | None = None,
    ) -> None:
        """Describe the cluster; `start`, or a `with` block, starts it.

        binary, flags, env, directory: as for LocalCluster.
        tls: serve clients over TLS, with certificates of an authority made for it.
        auth: enable authentication; `auth` is then the login of its only user, root.
        """
        super().__init__(
            size,
            binary=binary,
            flags=[*FLAGS, *flags],
            env=env,
            directory=directory,
            user=LOGIN if auth else None,
        )
        self._with_tls = tls
        self._with_auth = auth
        self._network: Network = NoNetwork()
        self._founders = size

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        super().start()
        if self._with_auth:
            try:
                self._enable_auth()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        try:
            self._network.close()
        finally:
            self._network = NoNetwork()
            super().close()

    def reset(self) -> None:
        """End every fault and empty the store; the revision goes on.

        Starts new members, with other addresses and an empty history, where that is not enough:
        the membership has changed, or authentication has a root that is not known here.
        """
        try:
            self._await_all(RESET_TIMEOUT)
            self._empty()
        except (ClusterError, wire.NoAnswer):
            self._begin_anew()

    # --- addresses ----------------------------------------------------------------------------

    @property
    def urls(self) -> list[str]:
        """Client URL of every member."""
        return [member.client_url for member in self.members]

    @property
    def endpoint(self) -> str:
        """Address of the first member, as "host:port"."""
        return self.members[0].endpoint

    @property
    def url(self) -> str:
        """Client URL of the first member."""
        return self.members[0].client_url

    @property
    def host(self) -> str:
        """Host of the first member."""
        return self.endpoint.rpartition(":")[0]

    @property
    def port(self) -> int:
        """Client port of the first member."""
        return int(self.endpoint.rpartition(":")[2])

    @property
    def tls(self) -> Tls | None:
        """PEM files for clients; None without TLS."""
        return self._tls

    @property
    def auth(self) -> Login | None:
        """Name and password of root; None without authentication."""
        return LOGIN if self._with_auth else None

    @property
    def env(self) -> dict[str, str]:
        """Variables that etcdctl reads: endpoints, certificates, user."""
        found = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": ",".join(self.urls)}
        if self.tls is not None:
            found["ETCDCTL_CACERT"] = str(self.tls.authority)
            found["ETCDCTL_CERT"] = str(self.tls.client_cert)
            found["ETCDCTL_KEY"] = str(self.tls.client_key)
        if self.auth is not None:
            found["ETCDCTL_USER"] = ":".join(self.auth)
        return found

    # --- faults -------------------------------------------------------------------------------

    def partition(self, *members: int) -> None:
        """Cut these members off from the others, both ways; among each other they stay connected.

        Clients still reach every member. Needs no rights; which member dialled is read from /proc,
        so it works on Linux.
        """
        others = set(range(len(self.members))) - set(members)
        one_way = [(inside, outside) for inside in members for outside in others]
        self._network.set([*one_way, *((to, start) for start, to in one_way)], CUT)

    def heal(self) -> None:
        """End every fault: links whole, members resumed and started; waits until all are
        healthy.
        """
        self._await_all(HEAL_TIMEOUT)

    def _await_all(self, timeout: float) -> None:
        self._network.heal()
        unharmed = True
        for index, member in enumerate(self.members):
            if member.paused or not member.running:
                unharmed = False
            member.resume()
            if member.ended_by_itself:
                warnings.warn(f"a member ended by itself\n{member.log_tail()}", stacklevel=3)
            if not member.running and index not in self._left:
                member.dismiss()
                self._start(index)
        # A single member that was left alone needs no elections to end.
        if len(self.members) > 1 or not unharmed:
            self.wait_healthy(timeout)

    # --- reset --------------------------------------------------------------------------------

    def _empty(self) -> None:
        access = self._root_access()
        members = _member_count(self.endpoint, access)
        if members != self._founders:
            raise ClusterError(f"{members} members, not {self._founders}")
        wipe.wipe(self.endpoint, access)
        if self._with_auth:
            self._enable_auth()

    def _root_access(self) -> wire.Access:
        """Return access with a token that is valid now, if authentication is ours."""
        plain = self._access._replace(token="")
        if not self._with_auth:
            return plain
        return plain._replace(token=wire.log_in(self.endpoint, *LOGIN, access=plain))

    def _enable_auth(self) -> None:
        try:
            self._root_access()  # kept data has it already
        except wire.NoAnswer:
            accounts.enable(self.endpoint, LOGIN, self._access)

    def _begin_anew(self) -> None:
        self.close()
        if self._keep is not None:
            for member in self.members:
                if member.data_dir.exists():
                    stamp = f"{time.time_ns():x}"
                    member.data_dir.rename(f"{member.data_dir}-before-{stamp}")
        self.size = self._founders
        self._joined.clear()
        self._left.clear()
        self.start()

    # --- building -----------------------------------------------------------------------------

    def _prepare(self, directory: Path) -> None:
        if self._with_tls:
            # Loads a library that clusters without TLS do not need (50 ms).
            from ..certificates import Authority

            self._serve_tls(Authority(directory / "tls").tls())

    def _build(self) -> None:
        super()._build()
        if self.size > 1:
            private = self._claim.any(self.size)
            for index, port in enumerate(private):
                self._add_flag(index, f"--listen-peer-urls=http://{ports.HOST}:{port}")
            self._network = between(self.members, private, self._pids)


class Server(Cluster):
    """A cluster of one member."""

    def __init__(
        self,
        *,
        binary: Sequence[str] | None = None,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        tls: bool = False,
        auth: bool = False,
        directory: Path | str | None = None,
    ) -> None:
        """As for Cluster."""
        super().__init__(
            1, binary=binary, flags=flags, env=env, tls=tls, auth=auth, directory=directory
        )


def _member_count(endpoint: str, access: wire.Access) -> int:
    """Return the number of members."""
    with wire.connected(endpoint, 1.0, access) as ask:
        return sum(number == 2 for number, _ in wire.fields_of(ask(_MEMBERS, b"")))
