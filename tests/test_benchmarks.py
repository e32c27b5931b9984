"""The benchmarks run, and what they print can be read: at tiny sizes, with whatever peers are installed."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.figure import QUICK, Bar, Column, Figure, Outcome, Sample, Series, Setting
from benchmarks.figures import FIGURES

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]


@pytest.mark.process
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_gives_finite_numbers_for_all_who_can_be_measured(name: str, tmp_path: Path) -> None:
    heard: list[str] = []
    outcome = FIGURES[name].measure(Setting(QUICK, tmp_path, heard.append))

    assert heard, "it says how far it is"
    for samples in outcome.series.rounds:
        for contestant, (metrics, probed) in samples.items():
            assert {column.metric for column in outcome.columns} <= metrics.keys(), contestant
            assert all(math.isfinite(value) and value >= 0 for value in (*metrics.values(), probed)), contestant
    assert outcome.bars
    for bar in outcome.bars:
        assert bar.missing or (bar.values and all(map(math.isfinite, bar.values))), bar.text
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def _outcome(*, quiet_disk: bool = False) -> Outcome:
    series = Series(
        [{"ours": Sample({"rate": rate}, 4.0), "peer": Sample({"rate": 10.0}, 0.2)} for rate in (40.0, 60.0)]
    )
    bar = Bar(
        text="ours against peer",
        limit=5.0,
        unit="x",
        at_least=True,
        values=series.ratios("rate", "ours", "peer"),
        quiet_disk=quiet_disk,
    )
    return Outcome(series, [Column("rate", "jobs/s")], [bar], {"ours": "as it comes", "peer": "its fastest"})


def _figure(outcome: Outcome) -> Figure:
    return Figure("one", "One figure", "How it is measured.", lambda _: outcome)


def test_a_ratio_is_taken_within_its_round() -> None:
    assert _outcome().bars[0].values == [4.0, 6.0]


def test_the_page_says_what_was_reached_and_what_was_missed() -> None:
    outcome = _outcome()
    measured = [
        report.Measured(_figure(outcome), outcome),
        report.Measured(_figure(outcome), None, "BenchmarkFailed: it did not start"),
    ]
    page = report.page(measured, date="2030-01-01", facts={"CPU": "one"}, load="0.1", minutes=3.0)

    assert "| ours against peer | 5.00 (4.00 to 6.00) x | at least 5 x | met |" in page
    assert "| One figure | not measured | | BenchmarkFailed: it did not start |" in page
    assert "|---|---:|---:|\n| ours | 50 (40 to 60) | 4.00 |" in page
    assert "| peer | 10 | 0.20 |" in page


def test_a_verdict_that_hangs_on_the_disk_says_when_the_disk_was_busy() -> None:
    outcome = _outcome(quiet_disk=True)
    section = report.section(report.Measured(_figure(outcome), outcome))

    assert "at least 5 x: met (on a busy disk)" in section


def test_an_unknown_figure_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["nonsense"])

    assert refused.value.code == 2
    assert "no such figure: 'nonsense'; there are enqueue," in capsys.readouterr().err


def test_the_list_names_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(FIGURES)


def test_importing_the_handlers_opens_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", "import benchmarks.handlers"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
