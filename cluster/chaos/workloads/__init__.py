"""What clients do while things break. Each workload is a loop of one client.

`registers`, `lists` and `groups` are recorded call by call; `leases` and `locks` by what they were
told; `watchers` by what they heard.
"""
