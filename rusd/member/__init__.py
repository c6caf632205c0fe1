"""Builds one member out of the other rooms, and runs it.

    cli -> process.serve -> Member.start: data_directory -> bootstrap -> assemble -> background work

- `process.py`: one member in one process, until a signal or a failure; waits out a full disk
- `signals.py`: SIGTERM and SIGINT from the first line of the command to its end
- `member.py`: the life of a member: start, background tasks, failure, orderly stop
- `assemble.py`: every component built once, every hook between two of them bound in one place
- `data_directory.py`: makes the directories private and refuses those that hold other data
- `bootstrap.py`: the first start; `identity.py`: what it leaves in the data directory
- `discovery/`: finds the members of a new cluster that the flags do not name
- `force_new_cluster.py`: `--force-new-cluster`; `restored.py`: a data directory from a snapshot
- `publication.py`: this member's name and client URLs, published through Raft
- `cluster_version.py`: the cluster version, proposed by the leader
- `pages.py`: the pages of the HTTP port by path
- `tokens.py`: the token provider that `--auth-token` asks for; `key_files.py`: warns of private
  keys that other users can read
- `sessions.py`: forgets ended tokens, checks watchers again after users or roles changed
- `errors.py`: why a member ends without a failure of its own
- `member_list.py`: asks peers whether this member was removed, and for members it does not know

Promises: a first start never reuses the id of a member whose disk was lost, and never serves data
that is not the member's. An error of any component ends the member, with one line that says why.

This room holds no logic of requests, Raft, storage or sockets: it creates the rooms that do.
"""
