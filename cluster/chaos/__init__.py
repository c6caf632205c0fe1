"""Injects faults into a cluster under load, and checks etcd's guarantees on the history.

    python -m cluster.chaos --time 60 --seed 7 --report build/chaos

Members run as processes. Clients call them while a schedule, drawn from a seed, injects faults. All
calls and watch messages form one `History`. The checks read only the history, so a saved history
can be checked again.

- `command`, `__main__`: the command; `progress`: its output in a terminal
- `run`: one run; `subject`: its cluster, each member with its links and its disk
- `containers`: members as containers in place of processes
- `network`: rules for the links between members, carried out by `namespaces` (root) or `proxy`;
  `filters`: packet filters inside namespaces
- `disks`: small disks that can be filled and slowed
- `schedule`: the faults and their times; `nemesis` injects them; `faults`: each kind of fault;
  `member_replacement`: a new member in place of one that lost its disk
- `workloads`: the loops of clients; `client`, `connection`: their calls, recorded in `history`
- `observer`: the leader during the run; `final_state`: the contents of each member after it
- `checks`: the verdicts; `report`: history and verdicts as a page; `judge`: checks a saved history
- `gaps`: times without an acknowledged write; `failover`: measures them when a leader ends

This room does not know which server it drives: rusd and etcd get the same faults and checks.
"""
