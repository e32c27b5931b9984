"""Which way a request takes, as the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from convoq.errors import ConfigError
from convoq.outbound import check_environment, proxy_for, tls_context

PROXY = "http://proxy.example.com:3128"
API = "https://api.twilio.com/2010-04-01"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434/v1",
        "http://localhost/v1",
        "http://[::1]:8000",
        "https://gpu.localhost",
        "http://127.9.9.9",
    ],
)
def test_this_machine_is_always_asked_directly(url: str) -> None:
    assert proxy_for(url, {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY, "ALL_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, f"{PROXY} (HTTPS_PROXY)"),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, f"{PROXY} (https_proxy)"),
        ({"HTTP_PROXY": PROXY}, None),
        ({"ALL_PROXY": PROXY}, f"{PROXY} (ALL_PROXY)"),
        ({"HTTPS_PROXY": "proxy.example.com:3128"}, f"{PROXY} (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://ann:s3cret@proxy.example.com:3128"}, f"{PROXY} (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "https://[fd00::1]"}, "https://[fd00::1]:443 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": " "}, None),
    ],
)
def test_the_proxy_is_that_of_the_scheme(environ: dict[str, str], told: str | None) -> None:
    proxy = proxy_for(API, environ)
    assert told == (None if proxy is None else str(proxy))
    assert "s3cret" not in repr(proxy)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", API, True),
        ("twilio.com", API, True),
        (".twilio.com", API, True),
        ("*.twilio.com", API, True),
        ("TWILIO.com", API, True),
        ("wilio.com", API, False),
        ("example.org, api.twilio.com", API, True),
        ("api.twilio.com:443", API, True),
        ("api.twilio.com:8443", API, False),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.0/8", "https://11.1.2.3/v1", False),
        ("10.1.2.3", "https://10.1.2.3:8000/v1", True),
        ("[fd00::1]:8000", "https://[fd00::1]:8000/v1", True),
        ("fd00::/8", "https://[fd00::1]:8000/v1", True),
        ("", API, False),
    ],
)
def test_no_proxy_names_hosts_domains_addresses_and_networks(no_proxy: str, url: str, direct: bool) -> None:
    assert (proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}) is None) is direct


@pytest.mark.parametrize("value", ["socks5://ann:s3cret@proxy:1080", "http://", "http://ann:s3cret@proxy:port"])
def test_a_proxy_that_is_none_is_refused_without_its_password(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_environment({"ALL_PROXY": value})
    assert str(caught.value) == "ALL_PROXY: is no HTTP proxy. Write it like http://proxy.example.com:3128"


def test_a_file_of_certificates_that_is_none_is_refused(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with pytest.raises(ConfigError, match=f"^SSL_CERT_FILE: {missing}: No such file or directory$"):
        tls_context({"SSL_CERT_FILE": str(missing)})
    with pytest.raises(ConfigError, match=f"^SSL_CERT_FILE: {empty} holds no certificate in PEM$"):
        tls_context({"SSL_CERT_FILE": str(empty)})
