"""The functional tests of etcd3gw, from its package."""

import os
import unittest

ENDPOINT = os.environ["ENDPOINT"]
SUITE = "etcd3gw.tests.test_etcd3gw"


class Lines(unittest.TestResult):
    """Prints a line for each test that ends. Tests of what the driver lacks are skipped."""

    def addSuccess(self, test):
        print(f"ok {test.id()}", flush=True)

    def addError(self, test, error):
        print(f"failed {test.id()}: {self._exc_info_to_string(error, test)[-300:]!r}", flush=True)

    addFailure = addError


def main():
    os.environ["TOOZ_TEST_HTTP_URL"] = f"http://{ENDPOINT}"
    os.environ["TOOZ_TEST_ETCD_PORT"] = ENDPOINT.rpartition(":")[2]
    unittest.defaultTestLoader.loadTestsFromName(SUITE).run(Lines())


if __name__ == "__main__":
    main()
