# The tests of python-etcd3, from its package.
cd suite
export PYTHONPATH=.. PYTHON_ETCD_HTTP_URL=http://$ENDPOINT TEST_ETCD_VERSION=v3.7.3
exec ../venv/bin/python -m pytest \
  -c /dev/null --rootdir . -W ignore -q -rA --show-capture=no -p running tests
