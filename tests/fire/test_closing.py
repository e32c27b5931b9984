"""The short form of the closing run: a few power cuts and harms. `--kills 500 --cuts 100 --harms` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fire.rounds import Round, under_fire
from tests.loop_image import KINDS, Kind, loop_image, needs_loop_devices

pytestmark = [pytest.mark.fire, pytest.mark.process, pytest.mark.long]


@needs_loop_devices
@pytest.mark.parametrize("kind", KINDS)
def test_a_power_cut_takes_what_was_not_flushed_and_nothing_else(tmp_path: Path, kind: Kind) -> None:
    with loop_image(tmp_path, kind) as image:
        with (image.place / "flushed").open("w") as file:
            file.write("kept")
            file.flush()
            os.fsync(file.fileno())
        (image.place / "new").write_text("lost")
        image.cut()
        with pytest.raises(OSError, match="Input/output error"):
            (image.place / "another").touch()
        image.unmount()
        image.mount()
        found = {file.name: file.read_text() for file in image.place.iterdir() if file.is_file()}
        assert found == {"flushed": "kept"}


@needs_loop_devices
async def test_power_cuts_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    [cuts] = await under_fire(tmp_path, Round("cuts", 0, harms=3))
    assert (cuts.counts["lost"], cuts.counts["doubled"]) == (0, 0)


async def test_files_taken_away_under_running_roles_cost_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    [harms] = await under_fire(tmp_path, Round("harms", 0, number=1, harms=3))
    assert sum(name.startswith("harm: ") for name in harms.counts) == 3
