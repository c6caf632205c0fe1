"""Bodies that are expensive to render: in the door's time, or once for all that wait for one."""

from collections import deque
from collections.abc import Awaitable, Callable

from rusd.base.pending import Pending
from rusd.door.time_budget import TimeBudget


class SharedRendering:
    """Renders at most once a turn, within the door's time budget. A response is never older than
    its request.
    """

    def __init__(self, render: Callable[[], bytes], budget: TimeBudget) -> None:
        self._render = render
        self._budget = budget
        self._waiting: Pending[bytes] | None = None
        #: As a `Worker` of the budget.
        self.used = 0.0
        self.waiting = False

    def rendered(self) -> Awaitable[bytes]:
        """Return the result of the next rendering."""
        if self._waiting is None:
            self._waiting = Pending()
            self._budget.defer(self)
        return self._waiting

    def work(self) -> bool:
        """See `Worker`."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            try:
                waiting.set_result(self._render())
            except Exception as error:  # noqa: BLE001
                # Passed on to the pages that wait for it.
                waiting.set_exception(error)
        return False


class Renderings:
    """Renders within the door's time budget, in order."""

    def __init__(self, budget: TimeBudget) -> None:
        self._budget = budget
        self._queue: deque[Callable[[], None]] = deque()
        #: As a `Worker` of the budget.
        self.used = 0.0
        self.waiting = False

    def later(self, render: Callable[[], None]) -> None:
        """See `Later`; `render` must not raise."""
        self._queue.append(render)
        self._budget.defer(self)

    def work(self) -> bool:
        """See `Worker`."""
        while self._queue:
            self._queue.popleft()()
            if self._budget.spent():
                break
        return bool(self._queue)
