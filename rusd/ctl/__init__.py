"""ctl: the command `rusdctl`, a small client with etcdctl's verbs, flags and output.

Files:
    command   arguments, environment, exit codes; `__main__`: `python -m rusd.ctl`
    flags     flags that say how to reach members, and their variables
    verbs     the verbs for keys and maintenance
    members   the verbs for members
    client    what the verbs share
    gateway   calls to a member by JSON over HTTP, and its pages
    answers   the members' JSON as etcdctl writes it
    printing  etcdctl's forms of output

For a cluster where there is no etcdctl: keys, members, alarms, maintenance, snapshots.
Calls go through the gateway of the client port, so that the command loads little more than the
standard library. Works with members of etcd too. Does not have watches, leases, transactions,
elections or changes of users: etcdctl has them.
"""
