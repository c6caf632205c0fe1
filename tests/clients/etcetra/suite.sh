# The tests of etcetra, from its package, which lacks the file with their fixture.
cd suite && PYTHONPATH=.. exec ../venv/bin/python -m pytest -q -rA --show-capture=no -p fixture tests
