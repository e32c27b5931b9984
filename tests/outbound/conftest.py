"""An environment without proxies, whatever this machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.outbound.authority import Authority, make_authority

HOST = "api.example.test"  # no resolver knows it: only a proxy can lead there


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"), HOST)


@pytest.fixture
def believed(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The company's authority in SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    return authority.certificate
