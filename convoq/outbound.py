"""The way to other hosts, the same for each of our clients: through which proxy, and what certificates are believed."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from convoq.errors import ConfigError

if TYPE_CHECKING:
    import ssl

CA_FILE: Final = "SSL_CERT_FILE"  #: a variable; the certificates in its file are believed beside the machine's
PORTS: Final = {"http": 80, "https": 443}
#: Where other systems keep their authorities than the one that Python was built on.
CA_BUNDLES: Final = ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a request goes in its target's stead. As text: for people, without a password."""

    variable: str  #: of the environment, that names it
    url: str  #: without user name and password
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  #: for the proxy alone

    def __str__(self) -> str:
        return f"{self.url} ({self.variable})"


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy that a request to `url` takes; None: it goes directly, as everything on this machine does.

    HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are read by the target's scheme, lower case first; NO_PROXY names hosts,
    domains with all below them, addresses and networks. Raises ConfigError for a proxy that is none.
    """
    target = urlsplit(url)
    if is_loopback(url) or _is_excepted(target, environ):
        return None
    return next(_proxies(target.scheme, environ), None)


def check_environment(environ: Mapping[str, str] = os.environ) -> None:
    """Raises ConfigError when a proxy or a file of certificates is named that cannot be used."""
    for scheme in PORTS:
        for _ in _proxies(scheme, environ):
            pass
    tls_context(environ)


def tls_context(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Believes the machine's authorities and those of SSL_CERT_FILE. Reading them takes a while, so once a process.

    Raises ConfigError when SSL_CERT_FILE cannot be used.
    """
    return _tls_context(environ.get(CA_FILE, ""))


def is_loopback(url: str) -> bool:
    """Whether it is asked on this machine and by no other name than its own: without a proxy, and in plain HTTP."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxies(scheme: str, environ: Mapping[str, str]) -> Iterator[Proxy]:
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        if value := environ.get(name, "").strip():
            yield _proxy(name, value)


def _proxy(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in PORTS or not parts.hostname:
        # Without the value: it may hold a password.
        raise ConfigError(f"{variable}: is no HTTP proxy. Write it like http://proxy.example.com:3128")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}:{port or PORTS[parts.scheme]}"
    if parts.username is None:
        return Proxy(variable, url)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(variable, url, (("Proxy-Authorization", f"Basic {b64encode(login.encode()).decode()}"),))


def _is_excepted(target: SplitResult, environ: Mapping[str, str]) -> bool:
    named = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    host, port = (target.hostname or "").rstrip("."), target.port or PORTS.get(target.scheme)
    return any(_covers(entry.lower(), host, port) for entry in re.split(r"[,\s]+", named) if entry)


def _covers(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass  # one of them is a name
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isdigit():
        if int(its_port) != port:
            return False
        entry = name
    domain = entry.strip("[]").removeprefix("*").strip(".")
    return host == domain or host.endswith(f".{domain}")


@functools.cache
def _tls_context(ca_file: str) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and (bundle := next(filter(os.path.isfile, CA_BUNDLES), None)):
        context.load_verify_locations(bundle)
    if not ca_file:
        return context
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise ConfigError(f"{CA_FILE}: {ca_file} holds no certificate in PEM") from None
    except OSError as error:
        raise ConfigError(f"{CA_FILE}: {ca_file}: {error.strerror}") from None
    return context
