"""The console of one member, put together: its pages, and what it does in the background."""

from collections.abc import Callable, Mapping

from rusd.console.cluster import ClusterPages
from rusd.console.files import ROOT, ConsoleFiles
from rusd.console.json_pages import JsonPages
from rusd.console.keys import KeyPages
from rusd.mvcc.store import Store
from rusd.rpc.pages import Page


class Console:
    """The console of one member."""

    def __init__(self, cluster: ClusterPages) -> None:
        self._cluster = cluster
        self._files = ConsoleFiles()

    def pages(self, pages: JsonPages, store: Callable[[], Store]) -> Mapping[str, Page]:
        """Return path -> page."""
        data = {
            "state": pages.page(self._cluster.state),
            "cluster": pages.of_users(self._cluster.cluster),
            **KeyPages(pages, store).pages(),
        }
        return {
            ROOT: self._files.page,
            ROOT.rstrip("/"): self._files.redirect,
            **{f"{ROOT}api/{name}": page for name, page in data.items()},
        }

    async def run(self) -> None:
        """Ask the other members while a console looks, until cancelled."""
        await self._cluster.reports.run()
