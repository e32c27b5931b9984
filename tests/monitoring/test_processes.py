"""Which processes are listed, and which of them are known to be gone."""

from __future__ import annotations

import pytest

from convoq.monitoring.processes import Processes
from tests.cli.scenes import Place, announce


def test_a_process_that_counts_its_ids_elsewhere_is_not_judged_by_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch, dead_pid: int
) -> None:
    monkeypatch.setattr("convoq.monitoring.processes.INITIAL_NAMESPACE", "pid:[1]")  # as if it ran in a container
    place.prepare(lambda database: Processes(database).announce("work-a", "work", "busy"))
    monkeypatch.undo()
    place.execute("UPDATE processes SET pid = ?", dead_pid)
    assert [one.gone for one in place.prepare(lambda database: Processes(database).seen())] == [False]


def test_a_process_that_got_the_number_of_a_killed_one_is_not_taken_for_it(place: Place) -> None:
    place.prepare(announce)
    place.execute("UPDATE processes SET started_at = started_at - 86400000 WHERE role = 'work'")

    assert [one.role for one in place.prepare(lambda db: Processes(db).seen()) if one.gone] == ["work"]


def test_a_process_of_another_machine_is_not_looked_for_here(place: Place, dead_pid: int) -> None:
    place.prepare(announce)
    place.execute("UPDATE processes SET pid = ?, host = 'elsewhere'", dead_pid)

    assert not any(one.gone for one in place.prepare(lambda db: Processes(db).seen()))


def test_a_killed_process_leaves_the_list_once_its_role_is_started_again(place: Place, dead_pid: int) -> None:
    place.prepare(announce)
    place.execute("UPDATE processes SET pid = ?, seen_at = seen_at - 1000 WHERE role = 'work'", dead_pid)
    place.prepare(lambda database: Processes(database).announce("work-2", "work", "fine"))

    assert [one.id for one in place.prepare(lambda db: Processes(db).seen()) if one.role == "work"] == ["work-2"]


def test_a_killed_process_stays_off_the_list_when_the_one_that_replaced_it_has_ended_in_order(
    place: Place, dead_pid: int
) -> None:
    place.prepare(announce)
    place.execute("UPDATE processes SET pid = ?, seen_at = seen_at - 1000 WHERE role = 'work'", dead_pid)
    place.prepare(lambda database: Processes(database).announce("work-2", "work", "fine"))
    place.prepare(lambda database: Processes(database).leave("work-2"))

    assert [one.id for one in place.prepare(lambda db: Processes(db).seen()) if one.role == "work"] == []
