"""`convoq catch-up` looks no further back than what was answered can be told from what was not."""

from __future__ import annotations

import pytest

from tests.cli.scenes import Place


@pytest.mark.parametrize("since", ["60d", "30d", "2020-01-01"])
def test_a_look_beyond_the_life_of_dedup_keys_is_refused_in_one_line(
    since: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("catch-up", "--since", since) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("convoq: --since looks back 29 days at most")
