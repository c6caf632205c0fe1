"""Run schedules: `python -m tests.sim --seeds 1000`. Exit status 1 if one is broken."""

import argparse
import logging
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.sim import directories
from tests.sim.world import World

#: One schedule in so many is a quiet one.
QUIET = 8
#: Seeds given to a process at a time.
BATCH = 25


def schedule(seed: int, *, tracing: bool = False) -> World:
    """The schedule of a seed."""
    return World(seed, quiet=seed % QUIET == 0, tracing=tracing)


def failures(first: int, count: int) -> tuple[list[tuple[int, str]], int]:
    """Seeds that break a promise, with what broke; and how many steps were checked."""
    logging.disable(logging.CRITICAL)
    found, checks = [], 0
    for seed in range(first, first + count):
        world = schedule(seed)
        try:
            world.run()
        except Exception as error:  # noqa: BLE001
            # Any failure is a finding.
            found.append((seed, "".join(traceback.format_exception_only(error)).strip()))
        checks += world.invariants.checks
    return found, checks


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules (1000)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print its steps")
    options = parser.parse_args()
    directories.remove_at_sigterm()
    if options.seed is not None:
        return _one(options.seed, options.trace)
    began = time.monotonic()
    found, done, checks = [], 0, 0
    with ProcessPoolExecutor(options.jobs) as pool:
        starts = range(options.first, options.first + options.seeds, BATCH)
        end = options.first + options.seeds
        tasks = [pool.submit(failures, start, min(BATCH, end - start)) for start in starts]
        for number, task in enumerate(as_completed(tasks), 1):
            broken, steps = task.result()
            checks += steps
            for seed, error in broken:
                print(f"seed {seed}: {error}", flush=True)
            found += broken
            done = min(number * BATCH, options.seeds)
            if number % 20 == 0:
                rate = done / (time.monotonic() - began) * 60
                print(f"{done} schedules, {len(found)} broken, {rate:.0f} a minute", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{options.seeds} schedules from seed {options.first}: {len(found)} broken; {checks:,} "
        f"steps checked in {seconds:.0f} s ({options.seeds / seconds * 60:.0f} schedules a minute)"
    )
    return 1 if found else 0


def _one(seed: int, trace: bool) -> int:
    logging.disable(logging.CRITICAL)
    world = schedule(seed, tracing=trace)
    try:
        print(f"seed {seed} holds; trace {world.run()}")
        return 0
    except Exception:  # noqa: BLE001
        # Any failure is a finding.
        traceback.print_exc()
        return 1
    finally:
        if trace:
            print("\n".join(world.lines))


if __name__ == "__main__":
    sys.exit(main())
