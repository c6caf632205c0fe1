# The tests of etcd-client-py, from its package, on a member that runs already: no container.
cd suite && PYTHONPATH=.. exec ../venv/bin/python -m pytest -q -rA --show-capture=no -p running tests
