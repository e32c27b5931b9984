"""Writes convoq.toml.example and docs/configuration.md from the models, so that neither can be out of date."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from convoq.settings import money, notify, options, people, retention, templates
from convoq.settings.options import Options
from convoq.settings.schema import SECTIONS, TABLE_LISTS, env_name, is_list

WIDTH: Final = 100

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

#: Options that exclude the one before them: in the example they stay a remark.
_INSTEAD: Final = frozenset({("database", "url"), ("personas", "agent"), ("schedules", "every")})

_EXAMPLE_HEAD: Final = """\
# convoq.toml: every option of convoq. What is commented out stands at its default, or is an example
# where there is none. Take away the leading # to change it.
#
# convoq reads the file given with --config, else the one named by CONVOQ_CONFIG, else ./convoq.toml,
# else /etc/convoq/convoq.toml. A variable such as CONVOQ_SERVER__PORT comes before the file, a flag
# before both. `convoq config check` finds mistakes; `convoq config show --origin` says what is in force
# and why. With secrets in it, no other user may read this file: chmod 600 convoq.toml
"""

_REFERENCE_HEAD: Final = """\
# Configuration

Every option of convoq has a default or can be left out, and can be set in any of these places. The first
that has it wins:

1. a flag, such as `--concurrency`
2. an environment variable, such as `CONVOQ_SERVER__PORT`
3. a systemd credential, such as `twilio__auth_token`
4. `convoq.toml`
5. the default

`convoq config show --origin` prints what is in force and where it comes from. `convoq config check` prints
everything that is wrong, one line each, and exits with 78.

## convoq.toml

The file is the one given with `--config`, else the one that `CONVOQ_CONFIG` names, else `./convoq.toml`, else
`/etc/convoq/convoq.toml`. A file that was asked for by name must exist; without any file the defaults hold.
[convoq.toml.example](../convoq.toml.example) shows every option; `convoq config example` prints it.

A setting that convoq does not know is an error, with its line and the name that was probably meant. Relative
paths in the file start at the directory of the file.

A file with a secret in it must not be readable by other users (`chmod 600`). A file that belongs to root may be
readable by its group: `root:convoq` with mode 640 suits a service.

## Environment

A variable is `CONVOQ_`, the section, two underscores and the option. Lists and tables are JSON:

```sh
CONVOQ_SERVER__PORT=9000
CONVOQ_NUMBERS='[{"address": "whatsapp:+14155238886", "persona": "shop"}]'
```

A list replaces the list in the file as a whole; `CONVOQ_HANDLERS` adds to the handlers in the file. A variable
that is empty counts as not set. One that convoq does not know is an error.

## Credentials

Under systemd secrets can stay out of both file and environment. A credential is named like the variable, in small
letters and without the prefix. The units that come with convoq look for them in `/etc/credstore`; one that is not
there does no harm:

```ini
[Service]
LoadCredential=twilio__auth_token:convoq.twilio__auth_token
LoadCredential=ai__api_key:convoq.ai__api_key
```

A line break at the end is not part of the value. Files of other names may lie beside them; one that
begins like a section of convoq's, such as `twilio__auth_tokn`, is an error.

## Secrets

convoq never prints a secret: `convoq config show` writes `***`, errors name only the place, and logs leave them out.
"""


def example() -> str:
    """The text of convoq.toml.example."""
    blocks = [_EXAMPLE_HEAD]
    for name, field in Options.model_fields.items():
        if name in SECTIONS:
            blocks.append(_section(name, SECTIONS[name]))
        elif name in TABLE_LISTS:
            blocks.append(_sample_table(name, TABLE_LISTS[name]))
        else:
            entries = [f"#{key_text(key)} = {toml_text(value)}" for key, value in _sample(field).items()]
            blocks.append("\n".join([*_comment(_meaning(Options, name)), f"#[{name}]", *entries]) + "\n")
    return "\n".join(blocks)


def _section(name: str, model: type[BaseModel]) -> str:
    lines = [*_comment(model.__doc__ or ""), f"[{name}]"]
    for key, field in model.model_fields.items():
        lines += ["", *_comment(_meaning(model, key)), f"{_lead(name, key)}{key} = {toml_text(_sample(field))}"]
    return "\n".join(lines) + "\n"


def _sample_table(name: str, model: type[BaseModel]) -> str:
    lines = [*_comment(f"{model.__doc__} Repeat the table for each one."), f"#[[{name}]]"]
    for key, field in model.model_fields.items():
        lines += [*_comment(_meaning(model, key)), f"{_lead(name, key)}{key} = {toml_text(_sample(field))}"]
    return "\n".join(lines) + "\n"


def _lead(name: str, key: str) -> str:
    return "# or " if (name, key) in _INSTEAD else "#"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), WIDTH, initial_indent="# ", subsequent_indent="# ")


def _meaning(model: type[BaseModel], key: str) -> str:
    """The words below the option in its class."""
    return " ".join(_docstrings().get((model.__name__, key), "").split())


@functools.cache
def _docstrings() -> dict[tuple[str, str], str]:
    # pydantic's use_attribute_docstrings would parse the source at every start, and only these texts need it.
    return {
        (node.name, field.target.id): text.value.value
        for module in (options, people, notify, money, retention, templates)
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef)
        for field, text in itertools.pairwise(node.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _sample(field: FieldInfo) -> Any:
    """The default, or an example where that says nothing."""
    return field.examples[0] if field.examples else field.get_default()


def key_text(key: str) -> str:
    """A key as TOML writes it."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def toml_text(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return (
                "{}"
                if not value
                else "{ " + ", ".join(f"{key_text(key)} = {toml_text(item)}" for key, item in value.items()) + " }"
            )
        case list() | tuple():
            return "[" + ", ".join(toml_text(item) for item in value) + "]"
        case Path() | str():
            return json.dumps(str(value), ensure_ascii=False)
        case _:
            return str(value)


def reference() -> str:
    """The text of docs/configuration.md."""
    blocks = [_REFERENCE_HEAD, "## Options\n"]
    for name in Options.model_fields:
        model = SECTIONS.get(name) or TABLE_LISTS.get(name)
        if model is not None:
            heading = f"### [{name}]" if name in SECTIONS else f"### [[{name}]]"
            variable = f" In the environment: `{env_name((name,))}` (JSON)." if name in TABLE_LISTS else ""
            blocks.append("\n".join([heading, "", f"{model.__doc__}{variable}", "", *_table(name, model)]) + "\n")
        else:
            blocks.append(
                f"### [{name}]\n\n{_meaning(Options, name)} In the environment: `{env_name((name,))}` (JSON).\n"
            )
    return "\n".join(blocks)


def _table(name: str, model: type[BaseModel]) -> Iterator[str]:
    if name in TABLE_LISTS:
        yield "| Option | Default | Meaning |"
        yield "| --- | --- | --- |"
    else:
        yield "| Option | Environment | Default | Meaning |"
        yield "| --- | --- | --- | --- |"
    for key, field in model.model_fields.items():
        variable = f" `{env_name((name, key))}` |" if name in SECTIONS else ""
        yield f"| `{key}` |{variable} {_default(field)} | {_explained(model, key)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    return "" if value is None else f"`{toml_text(value)}`"


def _explained(model: type[BaseModel], key: str) -> str:
    field = model.model_fields[key]
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is typing.Literal else ()
    names = ", ".join(f"`{choice}`" for choice in choices)
    form = " JSON in the environment." if is_list(field) else ""
    return (_meaning(model, key) + (f" One of {names}." if names else "") + form).replace("|", "\\|")
