"""The load during a run. Each workload is a loop of one client.

`registers`, `lists` and `groups` are recorded call by call; `leases` and `locks` by their
answers; `watchers` by the responses they received. `worker` runs a loop in a thread.
"""
