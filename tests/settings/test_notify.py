"""What must hold between the options of [notify]; no complaint tells a key."""

from __future__ import annotations

import pytest

from convoq.settings.notify import NotifySettings
from convoq.settings.notify_rules import notify_flaws

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAIL = {"smtp_url": "smtps://mail.example.com", "mail_from": "a@example.com", "mail_to": ["b@example.com"]}


def flaws(**options: object) -> list[str]:
    return [
        f"{'.'.join(map(str, path))}: {said}" for path, said, _ in notify_flaws(NotifySettings.model_validate(options))
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "https://hooks.example.com/x?key=geheim", "secret": SECRET},
        {"url": "http://ntfy.internal/x", "secret": SECRET, "allow_private": True},
        MAIL,
        MAIL | {"smtp_url": "smtp://a%40b.example@mail.example.com:2525", "smtp_password": "p"},
    ],
)
def test_what_is_whole_is_right(options: dict[str, object]) -> None:
    assert flaws(**options) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "https://h/x"}, "url: needs notify.secret: convoq notify secret makes one"),
        ({"url": "http://h/x", "secret": SECRET}, "url: must be https: http is for a private network"),
        ({"url": "ftp://h/x", "secret": SECRET}, "url: must start with https:// and a host"),
        ({"url": "https://u:geheim@h/x", "secret": SECRET}, "url: must start with https:// and a host, without user"),
        ({"url": "https://h/x#y", "secret": SECRET}, "url: must not hold a fragment"),
        ({"url": "https://h:geheim/x", "secret": SECRET}, "url: is not a URL"),
        ({"secret": "geheim"}, "secret: must be whsec_ and 24 to 64 bytes in base64"),
        ({"secret": "whsec_geheim!"}, "secret: must be whsec_ and 24 to 64 bytes in base64"),
        ({"secret": "whsec_Z2VoZWlt"}, "secret: must be whsec_ and 24 to 64 bytes in base64"),
        (MAIL | {"mail_to": []}, "smtp_url: needs notify.mail_from and notify.mail_to"),
        (MAIL | {"mail_to": ["b@example.com, c@example.com"]}, "mail_to.0: must be one address"),
        (MAIL | {"mail_from": "Marta <m@example.com>"}, "mail_from: must be one address"),
        (MAIL | {"smtp_url": "https://mail.example.com"}, "smtp_url: must be smtps://USER@HOST:PORT"),
        (MAIL | {"smtp_url": "smtp://u:geheim@h"}, "smtp_url: must not hold a password"),
        (MAIL | {"smtp_url": "smtp://u@h"}, "smtp_url: needs a user name and notify.smtp_password, or neither"),
        (MAIL | {"smtp_password": "geheim"}, "smtp_url: needs a user name and notify.smtp_password, or neither"),
    ],
)
def test_each_slip_is_one_line_without_what_may_be_a_key(options: dict[str, object], said: str) -> None:
    [line] = flaws(**options)
    assert line.startswith(said)
    assert "geheim" not in line
