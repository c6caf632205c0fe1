"""What the etcd of the test packages (3.5.1) is known to fail, as options of the chaos harness.

Its watches promise progress too early (its issue 15220, closed in 3.5.8), and its new leader does
not find leases before it has applied what is committed (its change 13932, in 3.5.3).
"""

ETCD_FROM_PYPI = ["--no-progress-requests", "--no-lease-ends"]
