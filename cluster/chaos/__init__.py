"""Breaking a cluster on purpose, and judging whether it kept etcd's promises.

    python -m cluster.chaos --time 60 --seed 7 --report build/chaos

Members run as processes, clients work on them while a seeded schedule of faults breaks things.
What all clients saw is one `History`; the verdicts are drawn from it alone, so a history can be
kept, and judged again.

- `command`, `__main__`: the command; `progress`: its output in a terminal
- `run`: one run; `subject`: its cluster, each member with its links and its disk
- `network`: rules for the links between members, carried out by `namespaces` (root) or `proxy`
- `disks`: small disks that can be filled and slowed
- `schedule`: what breaks when; `nemesis` carries it out; `faults`: each kind of fault;
  `replacing`: a new member in place of one that lost its disk
- `workloads`: the loops of clients; `client`, `connection`: what they call, recorded in `history`
- `observer`: the leader during the run; `ending`: what each member holds after it
- `checks`: the verdicts; `report`: history and verdicts as a page; `judge`: judges a kept history
- `gaps`: how long no write was acknowledged; `failover`: measures that when a leader ends

This room does not know which server it drives: rusd and etcd are run and judged alike.
"""
