"""Members as containers: the same faults, and those that only containers have.

    python -m cluster.chaos --image rusd:local --other-image rusd:previous --engine own

- `subject`: the cluster; `member`: a container in place of a process
- `engine`: the engine that runs, or a second one for this run, which can be restarted
- `network`: the members' links, broken in the containers' network namespaces
- `memory`: takes all memory that a container's limit leaves; `clock`: moves its wall clock

Images are used as they are: every command runs on this machine, inside a namespace or a cgroup of
the container. Requires Linux, root, and an engine on this machine.
"""
