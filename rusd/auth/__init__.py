"""Users, roles, tokens and permission checks, as etcd's auth defines them.

Data passes in two ways. Changes come from the replicated log: `state` calls one method of
`AuthStore` per committed request, on every member in the same order, and stores the records that
the method hands to its `Records` port in the same write as the log position. Questions come from
`api` and from apply: an `Identity` (user name and auth revision) is derived from a token or a
certificate, and `AuthStore` says whether it may read or write a range of keys.

- `records.py`    User, Role and Permission, as they are stored and sent
- `key_ranges.py` which keys a set of permissions covers
- `store.py`      `AuthStore`: users, roles, the auth revision, enabled or not; permission checks
- `tokens.py`     simple tokens: random names for sessions, kept in memory by every member
- `jwt_tokens.py` JSON Web Tokens: signed, so that members share a key and keep nothing
- `providers.py`  both kinds of tokens behind one interface
- `login_limit.py` how often a wrong password may be tried
- `passwords.py`  bcrypt hashes: made and compared, in a thread of the caller's choice
- `errors.py`     what is refused, by name; `rpc` gives etcd's codes and texts

Guarantees: applying the same requests in the same order gives the same users, roles and auth
revision on every member. No password and no token appears in an error, a representation or a log
line. A check costs O(log n) of the merged ranges of a user.

This package reads no clock (callers pass the time), opens no file, knows no socket, no Raft and no
storage layout. Source: etcd's documentation of authentication and the behaviour of etcd 3.7.
"""
