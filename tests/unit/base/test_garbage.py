"""Full collections visit what was allocated since the last one, and nothing is kept for ever."""

from __future__ import annotations

import subprocess
import sys

#: In a process of its own: the policy is that of a whole process.
SCRIPT = """
import gc
from rusd.base import garbage

class Node:
    pass

visited = []
def count(phase, info):
    if phase == "start" and info["generation"] == 2:
        visited.append(len(gc.get_objects()))

garbage.GROWTH = 300_000
garbage.bound_collections()
garbage.bound_collections()
assert gc.callbacks == [garbage._freeze]
gc.callbacks.insert(0, count)

kept = []
for _ in range(20):
    kept += [Node() for _ in range(10_000)]
    gc.collect()
assert max(visited) < 25_000, visited
del kept
gc.collect()

def cycles(number):
    for _ in range(number):
        node = Node()
        node.own = node
        yield node

# Cycles that fall out of use once they are frozen: some stay, until there are too many.
for _ in range(20):
    alive = list(cycles(50_000))
    gc.collect()
    del alive
gc.collect()
left = sum(type(one) is Node for one in gc.get_objects()) + gc.get_freeze_count()
assert left < 2 * garbage.GROWTH, left
assert max(visited) > garbage.GROWTH
"""


def test_collections_stay_short_and_cycles_do_not_gather() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
