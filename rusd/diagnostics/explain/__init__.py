"""explain: what happened to a key, revision by revision, and what a revision changed.

History is read by a watch that begins in the past, message by message; what is kept of it does not
grow. What etcd does not keep (when a revision was made, by whom) is not told.

Files:
    source   reads history from a member
    history  turns events into changes
    changes  what became of a value
    account  puts both together
    report   what is printed
"""
