"""Helpers that every room may use; imports no other room.

- `errors.py`: `Refusal`, the base of all errors that refuse one request
- `pending.py`: results to come, whose callbacks run synchronously
- `supervised.py`: background tasks whose failure ends the member
- `sliced.py`: long work in slices, between which the loop serves others; `garbage.py`: the same for
  collections of cyclic garbage
- `allocator.py`: freed memory that the C library keeps for large messages
- `worker.py`: one thread for work that would block the loop
- `chunks.py`: encoded messages in pieces
- `response_stream.py`, `timers.py`: ports that several rooms use: messages to a client, the clock
- `distribution.py`: observations counted in buckets
- `durable.py`: files that survive a power cut; `free_space.py`: free bytes of a file system
- `line_file.py`: lines appended to a file by a thread of their own
- `logs.py`: etcd's log format; `log_rotation.py`: log files that are renamed
  when full; `systemd.py`: readiness and the journal
- `command_line.py`: verbs, flags and help of commands, as etcd's tools have them
- `urls.py`: the type of URLs; `sockets.py`: listening and connecting; `accept.py`: accepting a few
  connections in one turn of the loop

This room knows nothing of etcd's API, Raft, storage or protocols.
"""
