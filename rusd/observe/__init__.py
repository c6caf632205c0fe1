"""The state of a member as it reports it: metrics, health checks, delays of the event loop.

    rooms ── plain integers ──▶ …_samples.py ───────┐
    methods ── CallCounts ─────▶ CallMetrics ───────┼─▶ metrics.py ─▶ text of /metrics
    event loop ─▶ loop_watchdog.py ── histogram ────┘

- `metrics.py` Prometheus's text format from samples, histograms and counts of calls
- `samples.py` a value and a distribution, as they are read
- `member_samples.py` etcd's metric names over the state of one member; `raft_samples.py`,
  `operation_samples.py` over what its rooms count; `process_samples.py` the process
- `backup_samples.py` of the backups of `--backup-interval`
- `thread_stacks.py` the stacks of all threads
- `stacks.py` what every thread and task is doing, for --enable-pprof
- `round_trips.py` how long other members take to answer
- `health.py` the checks behind /health, /livez and /readyz, as data
- `loop_watchdog.py` delays of the event loop, and what caused them

Promises: a request pays one integer increment for its metrics; a metric has etcd's name only if it
means the same.

Not here: HTTP (`rusd/member/pages.py`), logging of requests.
"""
