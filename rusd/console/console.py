"""The console of one member, put together: its pages, and what it does in the background."""

import asyncio
from collections.abc import Callable, Mapping

from rusd.console.cluster import ClusterPages
from rusd.console.files import ROOT, ConsoleFiles
from rusd.console.json_pages import JsonPages
from rusd.console.keys import KeyPages
from rusd.console.recorder import Recorder
from rusd.mvcc.store import Store
from rusd.rpc.pages import Page


class Console:
    """The console of one member."""

    def __init__(self, cluster: ClusterPages, recorder: Recorder) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._files = ConsoleFiles()

    def pages(self, pages: JsonPages, store: Callable[[], Store]) -> Mapping[str, Page]:
        """Return path -> page."""
        data = {
            "state": pages.page(self._cluster.state),
            "cluster": pages.of_users(self._cluster.cluster),
            "samples": pages.of_users(self._recorder.samples.find),
            "times": pages.of_users(self._recorder.find_times),
            **KeyPages(pages, store).pages(),
        }
        return {
            ROOT: self._files.page,
            ROOT.rstrip("/"): self._files.redirect,
            **{f"{ROOT}api/{name}": page for name, page in data.items()},
        }

    async def run(self) -> None:
        """Record, and ask the other members while a console looks, until cancelled."""
        await asyncio.gather(self._recorder.run(), self._cluster.reports.run())
