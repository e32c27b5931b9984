"""Twilio's REST API for one account: the SDK's resources over our own HTTP client, its failures as SendFailed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from convoq.channels.base import Failure, SendFailed
from convoq.channels.twilio.errors import Refused, Unreadable, send_failed
from convoq.clock import Clock
from convoq.errors import ConfigError
from convoq.outbound import check_environment, is_loopback
from convoq.settings import TwilioSettings

if TYPE_CHECKING:
    from convoq.channels.twilio.http import HttpClient


class TwilioRest:
    """One connection pool to one account. Made by `open`; close it."""

    def __init__(self, client: Any, http: HttpClient, clock: Clock) -> None:
        self.client = client  #: the SDK's; its requests go through `ask`
        self._http = http
        self._clock = clock

    @classmethod
    async def open(cls, settings: TwilioSettings, *, clock: Clock) -> TwilioRest:
        """`clock` is the wall clock. Raises ConfigError when nothing can be sent with these settings."""
        account_sid, username, secret = _credentials(settings)
        _check_base_url(settings.api_base_url)
        client_class, http_class = await asyncio.to_thread(_import_sdk)  # 0.2 s that the event loop keeps
        await asyncio.to_thread(check_environment)  # which reads the machine's authorities
        http = http_class(base_url=settings.api_base_url, timeout=settings.timeout)
        # An environment of its own: TWILIO_EDGE and TWILIO_REGION would send requests past api_base_url.
        client = client_class(username, secret, account_sid, http_client=http, environment={"TWILIO_EDGE": ""})
        return cls(client, http, clock)

    async def close(self) -> None:
        await self._http.close()

    async def ask(self, request: Awaitable[Any]) -> Any:
        """One request to Twilio; whatever goes wrong comes out as SendFailed."""
        from twilio.base.exceptions import TwilioException

        try:
            return await request
        except Refused as refused:
            raise send_failed(refused, now=self._clock.now()) from refused
        except UnicodeEncodeError as error:
            raise SendFailed(Failure.PERMANENT, "the message is not valid Unicode") from error
        except aiohttp.ClientHttpProxyError as error:
            # It answered CONNECT, before anything for Twilio had left.
            raise SendFailed(Failure.NOT_SENT, f"the proxy refused: HTTP {error.status} {error.message}") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise SendFailed(Failure.NOT_SENT, f"Twilio could not be reached: {error_text(error)}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SendFailed(Failure.AMBIGUOUS, f"Twilio's answer was lost: {error_text(error)}") from error
        # What the SDK raises when an answer is JSON but not what it expects.
        except (Unreadable, TwilioException, ValueError, TypeError, AttributeError, LookupError) as error:
            raise SendFailed(Failure.AMBIGUOUS, f"Twilio's answer could not be read: {error_text(error)}") from error


def _import_sdk() -> tuple[Any, type[HttpClient]]:
    from twilio.rest import Client

    from convoq.channels.twilio.http import HttpClient

    import_module("twilio.rest.api.v2010.account.message")  # else the SDK loads it at the first send, in the event loop
    return Client, HttpClient


def _credentials(settings: TwilioSettings) -> tuple[str, str, str]:
    """Account, user name and password; an API key comes before the auth token."""
    if not settings.account_sid:
        raise ConfigError("twilio.account_sid is missing: it stands on the first page of the Twilio Console")
    if settings.api_key_sid and settings.api_key_secret:
        return settings.account_sid, settings.api_key_sid, settings.api_key_secret.get_secret_value()
    if settings.api_key_sid or settings.api_key_secret:
        raise ConfigError("twilio.api_key_sid and twilio.api_key_secret go together: one of them is missing")
    if not settings.auth_token:
        raise ConfigError("twilio.auth_token is missing: without it or an API key nothing can be sent")
    return settings.account_sid, settings.account_sid, settings.auth_token.get_secret_value()


def _check_base_url(base_url: str) -> None:
    url = urlsplit(base_url)
    if url.scheme == "https" and url.hostname:
        return
    if url.scheme != "http" or not is_loopback(base_url):
        raise ConfigError("twilio.api_base_url must start with https:// (http:// only on this machine)")


def error_text(error: Exception) -> str:
    """aiohttp's timeouts say nothing by themselves."""
    return str(error) or type(error).__name__
