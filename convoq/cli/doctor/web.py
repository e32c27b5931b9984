"""The doctor looks at the way from Twilio to here: the port, the public URL, the signature."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import aiohttp

from convoq.ai.endpoints import model_urls
from convoq.channels.twilio.webhooks import INBOUND_PATH, inbound_url
from convoq.monitoring.findings import Finding, fail, note, ok
from convoq.outbound import CA_FILE, check_environment, proxy_for, tls_context

if TYPE_CHECKING:
    from convoq.settings import Options

WEB_TIMEOUT_SECONDS: Final = 4.0  # as long as Twilio waits for us


async def check_port(host: str, port: int) -> Finding:
    if not port:
        return note("port", "0: serve takes a free one at each start", "set server.port for production")
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 # compared, not bound
    if await _listens(near, port):
        if await _is_convoq(near, port):
            return ok("port", f"{host}:{port} is served by convoq")
        return fail("port", f"{host}:{port} is taken by another program", "end it, or set another server.port")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ok("port", f"{host}:{port} is free: convoq serve is not running")
    except OSError as error:
        reason = error.strerror or str(error)
        return fail("port", f"{host}:{port} cannot be listened on: {reason}", "look at server.host and port")


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _is_convoq(host: str, port: int) -> bool:
    name = f"[{host}]" if ":" in host else host
    try:
        status, text = await _request("GET", f"http://{name}:{port}/healthz")
    except (aiohttp.ClientError, TimeoutError):
        return False
    return status == 200 and _says_ok(text)


def _says_ok(text: str) -> bool:
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("status") == "ok"


async def _request(
    method: str, url: str, *, form: Sequence[tuple[str, str]] = (), headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and the beginning of the answer. Redirects are not followed: Twilio's signature would not survive them."""
    proxy = proxy_for(url)
    async with (
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=WEB_TIMEOUT_SECONDS), connector=aiohttp.TCPConnector(ssl=tls_context())
        ) as session,
        session.request(
            method, url, data=urlencode(form).encode() if form else None, headers=headers, allow_redirects=False,
            proxy=proxy.url if proxy else None, proxy_headers=proxy.headers if proxy else None,
        ) as response,
    ):  # fmt: skip
        content = await response.content.read(4096)
        return response.status, content.decode("utf-8", "replace")


async def check_public_url(public_url: str) -> Finding:
    try:
        status, text = await _request("GET", f"{public_url}/healthz")
    except aiohttp.ClientConnectorCertificateError as error:
        reason = str(error.certificate_error)
        return fail("public URL", f"{public_url}: its certificate is refused: {reason}", RENEW)
    except (aiohttp.ClientError, TimeoutError) as error:
        return fail("public URL", f"{public_url} cannot be reached: {_why(error)}", POINT_TO_PROXY)
    if status == 200 and _says_ok(text):
        return ok("public URL", f"{public_url}/healthz is answered by convoq")
    if 300 <= status < 400:
        return fail("public URL", f"{public_url} redirects ({status})", "set server.public_url to where it leads")
    if status in (502, 503, 504):
        return fail("public URL", f"{public_url}: the proxy answers {status}", "start convoq serve")
    if status in (403, 404):
        # A proxy may well pass the webhooks alone: the next check tells.
        return note("public URL", f"{public_url} is up, but /healthz is not passed on ({status})")
    return fail("public URL", f"{public_url}/healthz is answered {status}, not by convoq", POINT_TO_PROXY)


def _why(error: Exception) -> str:
    """Why there is no answer, in the system's words: aiohttp's own speak of its inner workings."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        # The resolver's numbers are negative and have words of their own.
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
    return str(error) or f"no answer within {WEB_TIMEOUT_SECONDS:g} s"


RENEW: Final = "renew the certificate, or look whether the proxy sends the whole chain"
POINT_TO_PROXY: Final = "look at its DNS name, the firewall and the proxy in front of convoq serve"


async def check_signature(options: Options) -> Finding:
    """Posts a form that is signed as Twilio signs, but is no message: it gets past the signature and no further."""
    from convoq.channels.twilio.signature import SIGNATURE_HEADER, sign

    url = inbound_url(options.server.public_url or "")
    form = [("AccountSid", options.twilio.account_sid or "")]
    token = options.twilio.auth_token.get_secret_value() if options.twilio.auth_token else ""
    headers = {SIGNATURE_HEADER: sign(token, url, form), "Content-Type": "application/x-www-form-urlencoded"}
    try:
        status, _ = await _request("POST", url, form=form, headers=headers)
    except (aiohttp.ClientError, TimeoutError) as error:
        return note("signature", f"could not be tried: {_why(error)}")
    if status == 400:
        return ok("signature", f"a signed request to {url} is recognised")
    if status == 403:
        return fail(
            "signature",
            f"a signed request to {url} is taken for a forgery",
            "the running convoq serve has another public_url or auth token (restart it), or the proxy changes"
            " path, query or body",
        )
    return fail(
        "signature",
        f"a signed request to {url} is answered {status}",
        "start convoq serve" if status in (502, 503, 504) else f"have the proxy pass {INBOUND_PATH} on unchanged",
    )


async def check_proxy(options: Options) -> Finding:
    """Which way Twilio and the model are asked; it is this command's environment that is looked at."""
    check_environment()
    ways: dict[str, dict[str, None]] = {}
    for url in (options.twilio.api_base_url, *model_urls(options.ai, options.personas)):
        proxy = proxy_for(url)
        ways.setdefault(f"through {proxy}" if proxy else "directly", {})[urlsplit(url).hostname or url] = None
    detail = "; ".join(f"{' and '.join(hosts)} {way}" for way, hosts in ways.items())
    authorities = os.environ.get(CA_FILE)
    return ok("proxy", f"{detail}; {CA_FILE} is {authorities}" if authorities else detail)
