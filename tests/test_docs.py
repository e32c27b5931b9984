"""The pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


def test_every_page_is_in_the_readmes_list() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [
        page.name for page in PAGES if page.name not in ("README.md", "LICENSE.md") and page.name not in readme
    ] == []


COUNTED = (
    "messages accepted (2xx)",
    "messages answered",
    "lost",
    "doubled",
    "left ambiguous",
    "sends of unknown outcome, found at Twilio",
    "sends that were tried again",
)


def counts(section: str) -> str:
    """A scenario of a report of tests.fire as a row of the proof's tables."""
    figures = [re.search(rf"(?m)^  {re.escape(name)} +(\d+)$", section) for name in COUNTED]
    return (
        f"| {section.partition(':')[0]} | "
        + " | ".join(f"{int(found[1]) if found else 0:,}" for found in figures)
        + " |"
    )


@pytest.mark.parametrize("report", sorted((ROOT / "docs" / "proof").glob("*.txt")), ids=lambda report: report.stem)
def test_the_proofs_tables_say_what_the_reports_beside_it_say(report: Path) -> None:
    page = (ROOT / "docs" / "proof.md").read_text()
    head, *sections = report.read_text().strip().split("\n\n")
    assert head.endswith("problems: 0")
    assert [row for row in map(counts, sections) if row not in page] == []
    assert f"(proof/{report.name})" in page
