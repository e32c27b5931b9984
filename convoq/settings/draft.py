"""Options as far as they are valid, so that one wrong value does not hide what else is wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from convoq.settings.checks import findings
from convoq.settings.options import Options
from convoq.settings.problems import explain
from convoq.settings.schema import SECTIONS, TABLE_LISTS, KeyPath, value_at


@dataclass(frozen=True, slots=True)
class Draft:
    """Options without what had the wrong type, and what is wrong with that."""

    options: Options
    errors: tuple[tuple[KeyPath, str], ...] = ()
    positions: dict[str, list[int]] | None = None  #: where the items of each list stood before the wrong ones went

    def findings(self, doubtful: Set[KeyPath]) -> Iterator[tuple[KeyPath, str]]:
        """What does not fit together; nothing that only seems so because one of the `doubtful` settings is wrong."""
        for finding in findings(self.options):
            path = self._original(finding.path)
            if not any(_overlap(other, needed) for other in doubtful for needed in (path, *finding.needs)):
                yield path, finding.message

    def _original(self, path: KeyPath) -> KeyPath:
        if self.positions is not None and path[0] in self.positions:
            return (path[0], self.positions[str(path[0])][int(path[1])], *path[2:])
        return path


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def drafted(values: dict[str, Any]) -> Draft:
    """Validates the values, and drops whatever has to go for the rest to be valid."""
    try:
        return Draft(Options.model_validate(values))
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    rest = copy.deepcopy(values)
    spoilt: set[KeyPath] = set()
    for item in wrong:
        if item["type"] == "extra_forbidden":
            value_at(rest, item["loc"][:-1]).pop(item["loc"][-1])
        else:
            _drop(rest, item["loc"], spoilt)
    positions = {name: _keep(rest, name, spoilt) for name in TABLE_LISTS}
    return Draft(Options.model_validate(rest), tuple((item["loc"], explain(item)) for item in wrong), positions)


def _drop(values: dict[str, Any], path: KeyPath, spoilt: set[KeyPath]) -> None:
    """Items of [[lists]] are only marked as spoilt: the others keep their places until all are known."""
    match path:
        case (str(name), int(index), *_) if name in TABLE_LISTS:
            spoilt.add((name, index))
        case (str(name), str(key), *_) if name in SECTIONS or name == "handlers":
            value_at(values, (name,)).pop(key, None)
        case (name, *_):
            values.pop(str(name), None)


def _keep(values: dict[str, Any], name: str, spoilt: set[KeyPath]) -> list[int]:
    items = values.get(name, ())
    kept = [index for index in range(len(items)) if (name, index) not in spoilt]
    if name in values:
        values[name] = [items[index] for index in kept]
    return kept
