"""The report of a made-up run: its numbers, its page, and that nothing in it is taken for HTML."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from plotly.graph_objects import Figure

from cluster.chaos.checks import Problem, Verdict, judge
from cluster.chaos.history import Action, Delivery, Fault, History, Leadership
from cluster.chaos.report import plots, write
from cluster.chaos.report.numbers import measure, quantile

from .story import Story

#: A name as only a hostile server would choose it.
NASTY = "</script><script>alert('&')</script>"


def run() -> History:
    """20 s with a write and a read each 100 ms, but for 5.05 to 6.95 s, in a kill from 5 to 8 s."""
    story = Story()
    for tenth in range(200):
        now = tenth / 10
        if 5 < now < 7:
            story.unknown(Action.WRITE, "k", now + 0.05, argument=f"lost {now}")
            continue
        story.write("k", f"{now}", now, now + 0.01)
        story.read("k", f"{now}", now + 0.02, now + 0.04)
    story.failed(Action.WRITE, "k", 10, 10.1, argument="refused")
    history = story.end()
    history.add(Fault(1, "kill", ("m1",), 5.0, 8.0, "signal 9"))
    history.add(Fault(2, "pause", ("m2", "m3"), 12.0, 13.0))
    history.add(Leadership(0.0, "m1", 2))
    history.add(Leadership(5.0, "", 0))
    history.add(Leadership(6.5, "m2", 3))
    history.about.update(subject="rusd", seed=7)
    return history


class Texts(HTMLParser):
    """The text of a page outside of scripts and styles, and its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside = ""
        self.text = ""
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self.inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.text += re.sub(r"\s+", " ", data)
        elif self.inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    def figures(self) -> dict[str, Any]:
        return {
            str(attributes["data-plot"]): json.loads(text)
            for attributes, text in self.scripts
            if "data-plot" in attributes
        }


def page(history: History, verdicts: list[Verdict], directory: Path) -> Texts:
    return Texts(write(history, verdicts, directory).read_text())


# --- numbers --------------------------------------------------------------------------------------


def test_the_outage_of_a_fault_is_the_longest_gap_that_overlaps_it() -> None:
    first, second = measure(run()).outages
    assert first.milliseconds == pytest.approx(2000)
    assert (first.began, first.ended) == pytest.approx((5.01, 7.01))
    assert second.milliseconds == pytest.approx(100)


def test_an_outage_reaches_beyond_its_fault() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("k", "b", 9, 10)
    story.history.add(Fault(1, "kill", ("m1",), 4, 5))
    assert measure(story.history).outages[0].milliseconds == pytest.approx(9000)


def test_an_outage_at_the_end_lasts_until_the_clients_gave_up() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.unknown(Action.WRITE, "k", 8, argument="b")
    story.history.add(Fault(1, "kill", ("m1",), 4, 5))
    assert measure(story.history).outages[0].milliseconds == pytest.approx(7000)


def test_outages_are_summed_up_by_kind() -> None:
    kinds = {kind.name: kind for kind in measure(run()).kinds}
    assert kinds["kill"].faults == 1
    assert kinds["kill"].worst == pytest.approx(2000)
    assert kinds["pause"].median == pytest.approx(100)


def test_calls_are_counted_by_outcome() -> None:
    numbers = measure(run())
    assert (numbers.ok, numbers.failed, numbers.unknown) == (362, 1, 19)
    assert numbers.acknowledged_writes == 181
    assert numbers.latency["write_p50"] == pytest.approx(10)
    assert numbers.latency["read_p99"] == pytest.approx(20)


def test_curves_follow_the_run() -> None:
    curves = measure(run()).curves
    assert curves.step == 0.1
    dead = curves.at.index(6.0)
    assert curves.writes[dead] == 0
    assert curves.unknown[dead] == pytest.approx(10)
    assert curves.write_p50[dead] is None
    busy = curves.at.index(15.0)
    assert curves.writes[busy] == pytest.approx(10)
    assert curves.write_p99[busy] == pytest.approx(10)


def test_a_leader_leads_until_the_next_is_seen() -> None:
    reigns = measure(run()).reigns
    assert [(one.member, one.began, one.ended) for one in reigns[:2]] == [
        ("m1", 0.0, 5.0),
        ("", 5.0, 6.5),
    ]
    assert reigns[2].ended == pytest.approx(19.94)


def test_a_watch_event_lags_behind_the_answer_to_its_writer() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    change = story.changes[0]
    story.history.add(Delivery("w", "m1", 1.25, "events", 2, (change,)))
    curves = measure(story.history).curves
    assert [lag for lag in curves.watch_p50 if lag is not None] == [pytest.approx(250)]


def test_an_empty_run_has_numbers_too() -> None:
    numbers = measure(History())
    assert numbers.ok == 0
    assert numbers.latency["read_p50"] is None


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.25, 1), (0.5, 2), (0.51, 3), (0.99, 4), (1.0, 4)]
)
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert quantile([1, 2, 3, 4], share) == value
    assert quantile([], share) is None


# --- plots ----------------------------------------------------------------------------------------


def test_the_plots_are_figures_that_plotly_understands() -> None:
    numbers = measure(run())
    for figure in (plots.timeline(numbers), plots.outages(numbers)):
        assert Figure(figure).data  # refuses what it does not know


def test_fault_windows_are_shaded_and_labelled() -> None:
    figure = plots.timeline(measure(run()))
    shades = [(shape["x0"], shape["x1"]) for shape in figure["layout"]["shapes"]]
    assert shades == [(5.0, 8.0), (12.0, 13.0)]
    (faults,) = (trace for trace in figure["data"] if trace.get("text") == ["m1", "m2, m3"])
    assert faults["y"] == ["kill", "pause"]
    assert faults["base"] == [5.0, 12.0]
    assert "2000 ms without a write" in faults["hovertext"][0]


def test_every_panel_has_its_own_place() -> None:
    layout = plots.timeline(measure(run()))["layout"]
    domains = sorted(axis["domain"] for name, axis in layout.items() if name.startswith("yaxis"))
    assert len(domains) == 5
    for (_, below), (above, _) in pairwise(domains):
        assert below < above


# --- page and file --------------------------------------------------------------------------------


def test_the_page_of_a_right_run_says_so_and_gives_the_facts(tmp_path: Path) -> None:
    history = run()
    texts = page(history, judge(history), tmp_path / "made" / "by write")
    for fact in (
        "All 9 promises kept",
        "linearizable",
        "acknowledged writes",
        "kill",
        "m2, m3",
        "signal 9",
        "2.00 s",
        "rusd",
        "seed",
    ):
        assert fact in texts.text
    assert "✗" not in texts.text
    assert set(texts.figures()) == {"timeline", "outages"}


def test_the_page_of_a_wrong_run_shows_what_is_wrong(tmp_path: Path) -> None:
    history = run()
    verdicts = [
        Verdict("watches", True, 3, "3 messages checked"),
        Verdict("linearizable", False, 9, "one", (Problem("key k: torn", ("client 4 read",)),)),
        Verdict("leases", False, 9, "undecided: no end", undecided=True),
    ]
    texts = page(history, verdicts, tmp_path)
    assert "2 of 3 promises not kept" in texts.text
    assert "linearizable, leases" in texts.text
    assert "key k: torn" in texts.text
    assert "client 4 read" in texts.text
    assert "undecided" in texts.text


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    history = run()
    text = write(history, judge(history), tmp_path).read_text()
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "http" not in markup
    assert not re.search(r"<(script|link|img)[^>]+(src|href)", text[: text.index("<script>")])
    assert "Plotly.react" in text


def test_values_are_never_taken_for_html(tmp_path: Path) -> None:
    history = run()
    history.add(Fault(3, NASTY, (NASTY,), 14.0, 15.0, NASTY))
    history.add(Leadership(16.0, NASTY, 4))
    history.about[NASTY] = NASTY
    verdicts = [Verdict(NASTY, False, 1, NASTY, (Problem(NASTY, (NASTY,)),))]
    texts = page(history, verdicts, tmp_path)
    assert texts.text.count(NASTY) >= 8
    assert len(texts.scripts) == 4  # plotly, two figures, drawing
    assert not any(text.startswith("alert") for _, text in texts.scripts)
    # What plotly draws is taken for simple HTML by plotly again.
    assert "<script" not in json.dumps(texts.figures())


def test_the_json_holds_the_same_numbers(tmp_path: Path) -> None:
    history = run()
    write(history, judge(history), tmp_path)
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["holds"] is True
    assert facts["about"] == {"subject": "rusd", "seed": 7}
    assert facts["verdicts"][0]["name"] == "linearizable"
    assert facts["acknowledged_writes"] == 181
    assert facts["faults"][0]["kind"] == "kill"
    assert facts["faults"][0]["targets"] == ["m1"]
    assert facts["faults"][0]["outage"]["milliseconds"] == pytest.approx(2000)
    assert facts["kinds"][0]["name"] == "kill"
    assert len(facts["curves"]["at"]) == len(facts["curves"]["writes"])


def test_a_run_without_faults_or_anything_has_a_page(tmp_path: Path) -> None:
    texts = page(History(), judge(History()), tmp_path)
    assert "All 9 promises kept" in texts.text
    assert set(texts.figures()) == {"timeline"}
