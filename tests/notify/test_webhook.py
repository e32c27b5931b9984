"""Where a webhook may lead, and what is said of one that does not take an event."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from convoq.conversations.notifications import Notification
from convoq.notify.addresses import is_public, public_socket
from convoq.notify.base import TargetFailed
from convoq.notify.webhook import Webhook
from convoq.outbound import _tls_context
from convoq.settings.notify import NotifySettings
from tests.notify.endpoint import SECRET, Endpoint, dripping, saying
from tests.outbound.authority import make_authority, tls_in_front_of

NOTIFICATION = Notification(1, "msg_1", "job.dead", 1_800_000_000_000, 0, {"kind": "remind", "job": "7"}, None)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def send(notify: NotifySettings) -> AsyncIterator[Any]:
    """Tells one event to a URL, and says what came of it."""
    opened: list[Webhook] = []

    async def send(url: str, **changed: Any) -> str:
        target = Webhook(notify.model_copy(update=changed), SecretStr(url), SecretStr(SECRET))
        opened.append(target)
        try:
            return (await target.send(NOTIFICATION)).answer
        except TargetFailed as error:
            return str(error)

    yield send
    for target in opened:
        await target.close()


async def test_what_it_says_is_told_in_one_line(send: Any, endpoint: Endpoint) -> None:
    endpoint.script = [saying(200, "thank\x1b[2J\nyou")]
    assert await send(endpoint.url) == "HTTP 200: thank\\x1b[2J\\nyou"


async def test_an_answer_that_comes_to_no_end_is_taken_by_its_status(send: Any, endpoint: Endpoint) -> None:
    endpoint.script = [dripping]
    assert await send(endpoint.url, timeout=0.5) == "HTTP 200: so"


async def test_a_private_address_is_not_connected_to(send: Any, endpoint: Endpoint) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        url = endpoint.url.replace("127.0.0.1", host)
        assert "is no public address: notify.allow_private lets url lead there" in await send(url, allow_private=False)
    assert endpoint.tried == []


async def test_a_name_that_resolves_anew_leads_to_no_private_address_either(
    send: Any, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is connected to is looked at, whatever was resolved before."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    resolve = socket.getaddrinfo

    def rebinding(host: str, port: Any, *args: Any, **options: Any) -> Any:
        return resolve(next(answers) if host == "rebind.example.test" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert socket.getaddrinfo("rebind.example.test", 80)[0][4][0] == "93.184.215.14"
    url = endpoint.url.replace("127.0.0.1", "rebind.example.test")
    assert "127.0.0.1 is no public address" in await send(url, allow_private=False)
    assert endpoint.tried == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(send: Any, endpoint: Endpoint, status: int) -> None:
    endpoint.script = [saying(status, location="/private")]
    assert await send(endpoint.url) == f"127.0.0.1 redirects (HTTP {status}), which is not followed: mend notify.url"
    assert endpoint.paths == ["/hook"]


async def test_an_error_does_not_tell_the_url(send: Any, endpoint: Endpoint) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        said = await send(f"http://127.0.0.1:{closed.getsockname()[1]}/hook?key=geheim")
    assert said.startswith("127.0.0.1 cannot be reached: ConnectionRefusedError")
    assert "geheim" not in said
    endpoint.script = [401]
    assert await send(endpoint.url) == "127.0.0.1 refused it with HTTP 401"


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    send: Any, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_authority(tmp_path, "localhost")
    port = int(endpoint.url.partition("/hook")[0].rpartition(":")[2])
    async with tls_in_front_of(port, authority) as tls_port:
        url = f"https://localhost:{tls_port}/hook"
        assert (await send(url)).startswith("localhost: its certificate is not believed: CERTIFICATE_VERIFY_FAILED")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        _tls_context.cache_clear()
        assert await send(url) == "HTTP 204"
    _tls_context.cache_clear()
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1"),
        *("2002:a00:1::", "224.0.0.1", "ff02::1", "255.255.255.255", "::"),
    ],
)
def test_an_address_that_is_not_everybodys_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    public_socket((family, socket.SOCK_STREAM, 0, "", (address, 443))).close()
