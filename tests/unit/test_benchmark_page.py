"""Two benchmarks write one page: each keeps the part of the other."""

from tests.bench.kubernetes.report import section, section_of, with_section
from tests.bench.kubernetes.work import Size

PAGE = "# Benchmarks\n\nnumbers\n\n## How to read this\n\n- so\n"


def text_of(mine: float) -> str:
    measured = {"rusd": [{"create, s": mine}] * 2, "etcd 3": [{"create, s": 2.0}, {"create, s": 4}]}
    return section(measured, "rusd", Size(), "v1", "two cores")


def test_the_section_about_kubernetes_is_put_before_the_notes_and_replaced_later() -> None:
    first, second = with_section(PAGE, text_of(1)), with_section(PAGE, text_of(6))
    assert first.startswith("# Benchmarks\n\nnumbers\n\n## Kubernetes\n")
    assert first.endswith("\n\n## How to read this\n\n- so\n")
    assert with_section(first, text_of(6)) == second


def test_a_new_page_takes_the_section_of_the_old_one() -> None:
    old = with_section(PAGE, text_of(1))
    assert with_section(PAGE.replace("numbers", "new"), section_of(old)) == old.replace(
        "numbers", "new"
    )
    assert with_section(PAGE, section_of(PAGE)) == PAGE


def test_a_ratio_is_of_the_medians_with_the_range_of_the_rounds() -> None:
    assert "| create, s | **2.00** (1.50 to 3.00) | 6.00 | 3.00 |" in text_of(6)


def test_a_round_that_failed_is_left_out() -> None:
    measured = {
        "rusd": [{}, {"create, s": 1.0}],
        "etcd 3": [{"create, s": 2.0}, {"create, s": 4.0}],
    }
    shown = section(measured, "rusd", Size(), "v1", "two cores")
    assert "| create, s | **0.33** (0.25 to 0.25) | 1.00 | 3.00 |" in shown
