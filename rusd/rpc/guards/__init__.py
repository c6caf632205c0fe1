"""Checks wrapped round the table of methods, so that no service repeats them.

A guard turns a method into one that checks first; what it checks stands in the method's row of
`rusd/rpc/requirements.py`. Methods are wrapped once, when the member is assembled: a method that
does not need a check is left as it is and pays nothing for it.

- `chain.py` wraps a table in a list of guards, outermost first;
- `learner.py` refuses what a learner does not serve; swaps the table when the role changes;
- `leader.py` metadata `hasleader`, and methods of the leader alone;
- `quota.py` the space quota;
- `validation.py` malformed requests;
- `authentication.py` identifies the caller, and refuses roles that a method does not admit;
- `timing.py` measures calls for --metrics=extensive;
- `audit.py` reports logins, changes of users and denied calls; before all others, if it is there.

etcd's order of checks: learner, `hasleader`, quota, validation, authentication, leader alone.
"""
