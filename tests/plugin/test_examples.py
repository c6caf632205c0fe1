"""Every example of docs/testing.md that needs no further client runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin import examples
from tests.plugin.clients.test_client_examples import CLIENTS

#: Examples that need nothing but the test packages.
PLAIN = ["fixtures", "factory", "unittest", "plain", "stdlib", "grpcio"]


def test_every_example_of_the_document_is_run_by_a_test() -> None:
    assert {*examples.EXAMPLES} == {*PLAIN, *CLIENTS, "container"}


def test_the_examples_run(tmp_path: Path) -> None:
    for name in PLAIN[1:]:
        (tmp_path / f"test_{name}.py").write_text(examples.EXAMPLES[name])
    examples.run(PLAIN[0], tmp_path, ".")


@pytest.mark.parametrize("name", ["stdlib", "grpcio"])
def test_the_examples_of_clients_run_on_real_etcd(name: str, tmp_path: Path) -> None:
    examples.run(name, tmp_path, examples.real_etcd())
