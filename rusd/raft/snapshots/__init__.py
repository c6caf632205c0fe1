"""Snapshots: the whole state, sent to a member whose next entry the log no longer holds.

- `transfer.py`: a checkpoint directory to frames, and frames to a durable directory
- `streams.py`: the snapshots that this member sends: one task a member
- `incoming.py`: the snapshot that this member is sent: written in order, acknowledged when durable
- `install.py`: replaces state and log by it

A leader's checkpoint becomes frames, the frames a durable directory on the follower, and that its
state. All that touches the disk runs in one `Worker` thread; the loop sends, receives and decides.
A crash at any moment leaves one whole state, the old or the new one.

The room knows neither what is in the files nor when a member needs a snapshot (`core/` says so).
"""
