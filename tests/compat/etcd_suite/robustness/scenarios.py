"""The scenarios of the suite, each with the faults it runs with here.

An exploratory scenario runs with every fault that needs no failpoint, a regression scenario with
its own one, or with `Kill` where that is compiled into etcd (gofail).
"""

from __future__ import annotations

from dataclasses import dataclass

EXPLORATORY = "TestRobustnessExploratory"
REGRESSION = "TestRobustnessRegression"

TRAFFICS = (
    "EtcdHighTraffic",
    "EtcdTrafficDeleteLeases",
    "KubernetesHighTraffic",
    "KubernetesLowTraffic",
)
#: Faults of the suite, and `isolateLeader` of `../go/one_failpoint.go`.
FAULTS = (
    "Kill",
    "blackholePeerNetwork",
    "blackholeUntilSnapshot",
    "delayPeerNetwork",
    "dropPeerNetwork",
    "MemberReplace",
    "isolateLeader",
)
#: Faults that a cluster of one member can have.
ALONE = ("Kill",)
#: Scenario -> its fault, empty where it is a failpoint of gofail.
ISSUES = {
    "Issue13766": "Kill",
    "Issue14370": "",
    "Issue14685": "",
    "Issue15220": "Kill",
    "Issue15271": "blackholeUntilSnapshot",
    "Issue17529": "",
    "Issue17780": "",
    "Issue18089": "",
    "Issue19179": "",
    "Issue20221": "blackholeUntilSnapshot",
}
#: What of the suite does not run, and why.
NOT_RUN = {
    "faults compiled into etcd (gofail: `raftBeforeSavePanic` and 30 others)": (
        "they are places in etcd's source; the regression scenarios that have one run with `Kill`"
    ),
    "`MemberDowngrade`, `MemberDowngradeUpgrade`, clusters of mixed versions": (
        "the other members would be real etcd of the release before"
    ),
    "scenarios on LazyFS": "needs FUSE and the program `lazyfs`",
}


@dataclass(frozen=True)
class Case:
    """A scenario with a fault."""

    function: str
    scenario: str
    fault: str

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.fault}"

    @property
    def pattern(self) -> str:
        """The argument of `-test.run`."""
        return "/".join(f"^{part}$" for part in (self.function, *self.scenario.split("/")))


def cases() -> list[Case]:
    """Return everything that runs."""
    exploratory = [
        Case(EXPLORATORY, f"{traffic}/ClusterOfSize{size}", fault)
        for traffic in TRAFFICS
        for size, faults in ((1, ALONE), (3, FAULTS))
        for fault in faults
    ]
    return exploratory + [
        Case(REGRESSION, issue, fault or "Kill") for issue, fault in ISSUES.items()
    ]
