"""The tests of tooz, from its package, with its driver etcd3gw: OpenStack's locks and groups."""

import os
import unittest

ENDPOINT = os.environ["ENDPOINT"]
SUITE = "tooz.tests.test_coordination"


class Lines(unittest.TestResult):
    """Prints a line for each test that ends. Tests of what the driver lacks are skipped."""

    def addSuccess(self, test):
        print(f"ok {test.id()}", flush=True)

    def addError(self, test, error):
        print(f"failed {test.id()}: {self._exc_info_to_string(error, test)[-300:]!r}", flush=True)

    addFailure = addError


def main():
    os.environ["TOOZ_TEST_URL"] = f"etcd3+http://{ENDPOINT}"
    unittest.defaultTestLoader.loadTestsFromName(SUITE).run(Lines())


if __name__ == "__main__":
    main()
