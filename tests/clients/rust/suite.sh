# The tests of etcd-client, from its package, with the user that they expect. Those of a cluster that
# has a fourth member started from outside are left out by their author.
set -e
member="--endpoints $ENDPOINT"
etcdctl $member user add root:rootpwd >&2
etcdctl $member user grant-role root root >&2
cd vendor/etcd-client
# (The address is a constant of the tests: cargo compiles them again when the variable changes.)
exec cargo test --locked --no-fail-fast --test client --test namespace -- \
  --include-ignored --skip test_cluster
