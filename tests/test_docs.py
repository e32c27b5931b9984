"""The pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convoq.conversations.states import Outcome

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: small letters, hyphens for spaces, nothing else."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_page_and_its_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]*)\)", page.read_text())
    for link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_glossary_has_fifteen_lines_and_names_each_outcome() -> None:
    entries = [line for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line.startswith("- ")]
    [outcomes] = [entry.partition("ended: ")[2].rstrip(".") for entry in entries if entry.startswith("- **outcome**")]
    assert len(entries) == 15
    assert outcomes.split(", ") == [str(outcome) for outcome in Outcome]


def test_every_page_is_in_the_readmes_list() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [
        page.name for page in PAGES if page.name not in ("README.md", "LICENSE.md") and page.name not in readme
    ] == []


COUNTED = (
    r"messages accepted \(2xx\)",
    "(?:messages )?answered",
    "lost",
    "doubled",
    "left ambiguous",
    "sends of unknown outcome, found at Twilio",
    "sends that were tried again",
)


#: Of a scenario that is counted in another way.
COUNTED_OF = {
    "takeovers": (
        *("timelines", "take-overs", "  in the middle of a reply", "  parts that had not begun to leave"),
        *("  parts that had", "said after a take-over", "lost", "blind", "sent twice"),
    )
}


def counts(section: str) -> str:
    """A scenario of a report of tests.fire as a row of the proof's tables."""
    scenario = section.partition(":")[0]
    figures = [re.search(rf"(?m)^  {name} +(\d+)$", section) for name in COUNTED_OF.get(scenario, COUNTED)]
    return f"| {scenario} | " + " | ".join(f"{int(found[1]) if found else 0:,}" for found in figures) + " |"


@pytest.mark.parametrize("report", sorted((ROOT / "docs" / "proof").glob("*.txt")), ids=lambda report: report.stem)
def test_the_proofs_tables_say_what_the_reports_beside_it_say(report: Path) -> None:
    page = (ROOT / "docs" / "proof.md").read_text()
    _head, *sections = report.read_text().strip().split("\n\n")
    assert [late for late in re.findall(r"PROBLEM: .*?\[([\d.]+)", report.read_text()) if late not in page] == []
    assert [row for row in map(counts, sections) if row not in page] == []
    assert f"(proof/{report.name})" in page


LONGEST_CODE_LINE = 92  # beyond, the README scrolls sideways at 1,280 px on GitHub


def test_no_code_of_the_readme_scrolls_sideways_on_a_laptop() -> None:
    readme = (ROOT / "README.md").read_text()
    code = re.findall(r"(?ms)^ *```\w*\n(.*?)^ *```", readme) + re.findall(r"(?m)^    .+$", readme)
    assert [line for block in code for line in block.splitlines() if len(line) > LONGEST_CODE_LINE] == []
