"""diagnostics: the commands `rusd doctor`, `rusd top` and `rusd explain`.

Clients that look at a running cluster, of rusd or of etcd: they use nothing but etcd's public API
(the JSON gateway, `/metrics`, `/health` and `/version` of the client port), and change nothing.

Files:
    command     arguments, environment, exit codes
    asking      what members are asked
    exposition  numbers of a `/metrics` page
    text        keys and names for a terminal
    doctor      what is wrong with a cluster, and what to do
    top         what members do now, in a terminal
    explain     what happened to a key, and what a revision changed
"""
