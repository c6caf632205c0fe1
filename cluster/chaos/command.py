"""The command `rusd-chaos` (or `python -m cluster.chaos`): runs and checks a test.

Exit status: 0 when all verdicts hold, 1 when one does not, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import faults, schedule
from .run import Plan, run, stayed_alive
from .schedule import KINDS
from .subject import NETWORKS, Subject, network_of

#: Installed with `pip install rusd[chaos]`.
_MISSING = "rusd-chaos needs more packages: pip install 'rusd[chaos]'"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="rusd-chaos",
        description="Break a cluster of local members on purpose, and judge by what its clients "
        "saw whether it kept etcd's promises.",
    )
    made.add_argument("--time", type=float, default=60.0, help="seconds of faults (60)")
    made.add_argument("--seed", type=int, help="of the schedule and the clients (drawn)")
    made.add_argument(
        "--subject", default="rusd", help="rusd, etcd, or the path of a binary with etcd's flags"
    )
    made.add_argument("--size", type=int, default=3, help="members (3)")
    made.add_argument("--rate", type=float, default=250.0, help="calls per second, about (250)")
    made.add_argument("--faults", help=f"comma-separated kinds, of: {', '.join(KINDS)}")
    made.add_argument(
        "--network", choices=("auto", *NETWORKS), default="auto", help="how links are broken"
    )
    made.add_argument("--no-disks", action="store_true", help="leave disks alone")
    made.add_argument(
        "--image", help="members are containers of this image, which takes etcd's flags"
    )
    made.add_argument("--other-image", help="upgrades and downgrades move members to it and back")
    made.add_argument(
        "--engine",
        choices=("running", "own"),
        default="running",
        help="own: start a second container engine, and restart it as one of the faults",
    )
    made.add_argument("--schedule", type=Path, help="carry out this schedule.json of another run")
    made.add_argument("--report", type=Path, help="directory for report, history and schedule")
    made.add_argument(
        "--no-progress-requests",
        action="store_true",
        help="watchers do not ask for progress (etcd before 3.5.8 answers too early: its issue "
        "15220, which the verdict on watches finds)",
    )
    made.add_argument(
        "--no-lease-ends",
        action="store_true",
        help="do not take a lease as ended when a member does not find it (etcd before 3.5.3: a "
        "new leader answers before it has applied what is committed; its change 13932)",
    )
    made.add_argument(
        "--flag", action="append", default=[], help="further flag of every member (repeatable)"
    )
    made.add_argument(
        "--clocks",
        action="store_true",
        help="move the containers' clocks by libfaketime",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = parser().parse_args(arguments)
    try:
        from rich.console import Console

        from .checks import judge
        from .judge import show
        from .progress import Progress
        from .report import write
    except ModuleNotFoundError as error:
        print(f"{_MISSING} ({error})", file=sys.stderr)
        return 2
    try:
        steps = schedule.load(options.schedule) if options.schedule else None
        kinds = options.faults.split(",") if options.faults else None
        seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
        if kinds:
            schedule.draw(seed, 0.0, kinds)  # only to refuse unknown kinds
        subject = _subject(options, seed)
    except ModuleNotFoundError as error:
        print(f"{_MISSING} ({error})", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    what = options.image or options.subject
    name = what.rpartition("/")[2].replace(":", "-")
    report = options.report or Path("build/chaos") / f"{name}-{seed}"
    report.mkdir(parents=True, exist_ok=True)
    about: dict[str, object] = {
        "subject": what,
        "network": subject.kind,
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if options.other_image:
        about["other image"] = options.other_image
    title = f"{what}, {options.size} members, seed {seed}, network: {subject.kind}"
    with subject, Progress(title, options.time) as progress:
        if steps is None:
            steps = schedule.draw(seed, options.time, kinds or faults.possible(subject))
        schedule.save(steps, report / "schedule.json")
        plan = Plan(
            options.time,
            seed,
            steps,
            options.rate,
            progress=not options.no_progress_requests,
            lease_ends=not options.no_lease_ends,
        )
        history = run(subject, plan, about, progress)
    history.save(report / "history.jsonl")
    verdicts = [*judge(history), stayed_alive(history)]
    console = Console()
    every = show(verdicts, console)
    page = write(history, verdicts, report)
    console.print(f"{len(history.faults)} faults; report: {page}", markup=False, soft_wrap=True)
    return 0 if every else 1


def _subject(options: argparse.Namespace, seed: int) -> Subject:
    """Return the cluster that the command line describes. Raises OSError or ValueError."""
    if options.image:
        from .containers.subject import ContainerSubject

        return ContainerSubject(
            options.image,
            options.size,
            other_image=options.other_image,
            engine=options.engine,
            clocks=options.clocks,
            flags=options.flag,
        )
    if options.other_image or options.engine != "running" or options.clocks:
        raise ValueError("--other-image, --engine and --clocks need --image")
    return Subject(
        options.subject,
        options.size,
        network=network_of(options.network),
        with_disks=not options.no_disks,
        flags=options.flag,
        seed=seed,
    )


def console() -> NoReturn:
    """Entry point."""
    sys.exit(main())


if __name__ == "__main__":
    console()
