"""Signs and verifies webhooks as Twilio does: over the URL that Twilio was told to call, never the one that came in."""

from __future__ import annotations

import enum
import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final
from urllib.parse import parse_qs, urlsplit

from convoq.errors import ConfigError

SIGNATURE_HEADER: Final = "X-Twilio-Signature"
SETTINGS_HEADER: Final = "X-Twilio-Webhooks-Signature-Settings"
HMAC_SHA1: Final = "HMAC_SHA1"
HMAC_SHA256: Final = "HMAC_SHA256"

Pairs = Sequence[tuple[str, str]]

_HASHES: Final = {HMAC_SHA1: hashlib.sha1, HMAC_SHA256: hashlib.sha256}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Verdict(enum.Enum):
    """What a signature proves. Only VALID is true."""

    VALID = "valid"
    MISSING = "missing"  #: the request carries no signature at all
    FORGED = "forged"  #: made with another token, for another URL or for other content

    def __bool__(self) -> bool:
        return self is Verdict.VALID


class Verifier:
    """Tells Twilio's requests from all others, whatever they contain; it never raises.

    `public_url` is the scheme, host and path prefix that Twilio was given. `tokens` are the account's auth tokens
    (or shared keys), any of which may have signed. Raises ConfigError when nothing could ever be verified with them.
    """

    def __init__(self, account_sid: str, tokens: Sequence[str], public_url: str) -> None:
        self.account_sid = account_sid
        keys = [token.encode() for token in tokens if token]
        if not keys:
            raise ConfigError("twilio.auth_token is missing: without it no webhook can be verified")
        bases = [base.encode() for base in _bases(public_url)]
        # Keyed and fed with the URL's fixed part once: a request then costs one copy and one update.
        self._keyed = {
            name: [hmac.new(key, base, algorithm) for base in bases for key in keys]
            for name, algorithm in _HASHES.items()
        }

    def verify(
        self,
        raw_path: str,
        pairs: Pairs | None,
        body: bytes | None,
        signature: str | None,
        settings: str | None = None,
    ) -> Verdict:
        """Whether Twilio signed this request.

        `raw_path` is path and query as they stood in the request line. A form comes as `pairs`; JSON comes as
        `pairs=None` with its `body`, which counts only if the signed query carries its hash. `signature` and
        `settings` are the values of SIGNATURE_HEADER and SETTINGS_HEADER.
        """
        if not signature:
            return Verdict.MISSING
        keyed = self._keyed.get(_algorithm(settings), [])
        if pairs is None and not _hash_is_signed(raw_path, body or b""):
            return Verdict.FORGED
        try:
            signed = (raw_path + canonical(pairs or ())).encode()
            given = signature.encode("ascii")
        except UnicodeEncodeError:  # Twilio sends neither lone surrogates nor signatures beyond ASCII
            return Verdict.FORGED
        for prepared in keyed:
            mac = prepared.copy()
            mac.update(signed)
            if hmac.compare_digest(b64encode(mac.digest()), given):
                return Verdict.VALID
        return Verdict.FORGED


def sign(token: str, url: str, pairs: Iterable[tuple[str, str]] = (), algorithm: str = HMAC_SHA1) -> str:
    """The signature Twilio would send with this form to this URL; userinfo and fragment are not signed."""
    scheme, rest = url.partition("#")[0].split("://", 1)
    host, slash, path = rest.partition("/")
    target = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    message = (target + canonical(pairs)).encode()
    return b64encode(hmac.new(token.encode(), message, _HASHES[algorithm]).digest()).decode()


def canonical(pairs: Iterable[tuple[str, str]]) -> str:
    """A form as Twilio signs it: each distinct value of each key, in code point order, with nothing in between."""
    return "".join(chain.from_iterable(sorted(set(pairs))))


def _bases(public_url: str) -> list[str]:
    """What may stand before the raw path: Twilio is not consistent about naming the port."""
    try:
        url = urlsplit(public_url)
        port = url.port
    except ValueError as error:
        raise ConfigError(f"server.public_url is not a URL: {error}") from error
    if url.scheme not in _DEFAULT_PORTS or not url.hostname:
        raise ConfigError('server.public_url must be like "https://bot.example.com"')
    if url.query:
        raise ConfigError("server.public_url must not have a query")
    host = url.netloc.rpartition("@")[2]
    bare = host if port is None else host.rpartition(":")[0]
    named = f"{bare.rstrip(':')}:{port or _DEFAULT_PORTS[url.scheme]}"
    hosts = [bare.rstrip(":"), named] if port is None else [named, bare]
    return [f"{url.scheme}://{host}{url.path.rstrip('/')}" for host in hosts]


def _algorithm(settings: str | None) -> str:
    """The algorithm that the settings header names; without one the old SHA-1."""
    if not settings:
        return HMAC_SHA1
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return HMAC_SHA1


def _hash_is_signed(raw_path: str, body: bytes) -> bool:
    """A JSON body is not part of what is signed: only its hash in the URL ties it to the signature."""
    try:
        claimed = parse_qs(raw_path.partition("?")[2], max_num_fields=100).get("bodySHA256", [""])[0].encode("ascii")
    except ValueError:
        return False
    return hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), claimed)
