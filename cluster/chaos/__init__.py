"""Breaking a cluster on purpose, and judging whether it kept etcd's promises.

    python -m cluster.chaos --time 60 --seed 7 --report build/chaos

Members run as processes (`subjects`), clients work on them (`workloads`) while a seeded schedule of
faults breaks things (`faults`, `nemesis`). What all clients saw is one `History`; the verdicts
(`checks`) are drawn from it alone, so a history can be kept, and judged again. `report` shows both.

Nothing in this room knows which server it drives: rusd and etcd are run and judged alike.
"""
