"""The shape of the options, read off the models: which settings there are and what the environment calls them."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from convoq.settings.options import Options

KeyPath = tuple[str | int, ...]  #: ("numbers", 0, "address") is the address of the first of [[numbers]]

ENV_PREFIX: Final = "CONVOQ_"

#: Names with our prefix that are no settings: where the file is, and what only tests and a traceback need.
RESERVED: Final = frozenset({"CONVOQ_CONFIG", "CONVOQ_CHROMIUM", "CONVOQ_DEBUG"})


def _members(*, listed: bool) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Options.model_fields.items():
        annotation = typing.get_args(field.annotation)[0] if listed and is_list(field) else field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and listed == is_list(field):
            yield name, annotation


def is_list(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) is tuple


def is_table(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) is dict


def is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or SecretStr in typing.get_args(field.annotation)


SECTIONS: Final[dict[str, type[BaseModel]]] = dict(_members(listed=False))
TABLE_LISTS: Final[dict[str, type[BaseModel]]] = dict(_members(listed=True))


def _paths() -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, field in Options.model_fields.items():
        if name in SECTIONS:
            yield from (((name, key), inner) for key, inner in SECTIONS[name].model_fields.items())
        else:
            yield (name,), field


#: Every setting that has a name of its own in the environment and as a credential.
SETTINGS: Final[dict[KeyPath, FieldInfo]] = dict(_paths())


def env_name(path: KeyPath) -> str:
    return ENV_PREFIX + "__".join(str(part) for part in path).upper()


def credential_name(path: KeyPath) -> str:
    return "__".join(str(part) for part in path)


def model_of(path: KeyPath) -> type[BaseModel] | None:
    """The model of the table at that place, if one describes it."""
    match path:
        case ():
            return Options
        case (str(name),):
            return SECTIONS.get(name)
        case (str(name), int()):
            return TABLE_LISTS.get(name)
        case _:
            return None


def field_of(path: KeyPath) -> FieldInfo | None:
    """The setting at that place, if there is such a one."""
    model = model_of(path[:-1])
    return model.model_fields.get(str(path[-1])) if model and path else None


def value_at(values: Any, path: KeyPath) -> Any:
    """What stands at that place in nested tables and lists; None where nothing does."""
    for part in path:
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return None
    return values
