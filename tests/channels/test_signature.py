"""Signatures agree with Twilio's own library and withstand whatever is sent."""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from convoq.channels.twilio.signature import HMAC_SHA256, Verdict, Verifier, sign
from convoq.errors import ConfigError

ACCOUNT = "AC" + "a" * 32
TOKEN = "correct horse"
FORM = [("MessageSid", "SM" + "1" * 32), ("Body", "hola ñandú 🙂"), ("From", "whatsapp:+34600000001")]

names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
pairs = st.lists(st.tuples(names, values), max_size=20)
tokens = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=32)
paths = st.text(string.ascii_letters + string.digits + "/-_.~%?&=+", max_size=40).map(lambda text: "/twilio/" + text)


class Repeated:
    """A form as frameworks with repeated keys hand it to Twilio's library."""

    def __init__(self, form: list[tuple[str, str]]) -> None:
        self._form = form

    def __iter__(self) -> object:
        return iter(name for name, _ in self._form)

    def getall(self, wanted: str) -> list[str]:
        return [value for name, value in self._form if name == wanted]


def verifier(public_url: str = "https://bot.example.com", *tokens: str) -> Verifier:
    return Verifier(ACCOUNT, tokens or (TOKEN,), public_url)


def verify(path: str, form: list[tuple[str, str]], signature: str | None, settings: str | None = None) -> Verdict:
    return verifier().verify(path, form, None, signature, settings)


@given(form=pairs, token=tokens, path=paths, host=st.sampled_from(["https://h.example", "http://h.example:8080"]))
def test_what_twilios_library_signs_is_valid(form: list[tuple[str, str]], token: str, path: str, host: str) -> None:
    signature = RequestValidator(token).compute_signature(host + path, Repeated(form))
    assert Verifier(ACCOUNT, ["other", token], host).verify(path, form, None, signature) is Verdict.VALID
    assert sign(token, host + path, form) == signature


@given(form=pairs, other=pairs, path=paths)
def test_both_reject_another_form(form: list[tuple[str, str]], other: list[tuple[str, str]], path: str) -> None:
    signature = sign(TOKEN, "https://bot.example.com" + path, form)
    validator = RequestValidator(TOKEN)
    same = validator.compute_signature("", Repeated(form)) == validator.compute_signature("", Repeated(other))
    assert bool(verify(path, other, signature)) == same


@pytest.mark.parametrize("signed", ["https://h.example", "https://h.example:443", "https://h.example:8443"])
@pytest.mark.parametrize("configured", ["https://h.example", "https://h.example:443", "https://h.example:8443"])
def test_ports_are_judged_as_twilios_library_does(signed: str, configured: str) -> None:
    signature = sign(TOKEN, signed + "/twilio/inbound", FORM)
    theirs = RequestValidator(TOKEN).validate(configured + "/twilio/inbound", dict(FORM), signature)
    assert bool(verifier(configured).verify("/twilio/inbound", FORM, None, signature)) == theirs


@pytest.mark.parametrize(
    ("configured", "called"),
    [
        ("https://user:secret@h.example", "https://h.example/x"),
        ("https://user:p@ss@h.example:8443/", "https://h.example:8443/x"),
        ("https://h.example/behind/a/prefix/", "https://h.example/behind/a/prefix/x"),
        ("https://[::1]:8443", "https://[::1]:8443/x"),
        ("https://[::1]", "https://[::1]/x"),
        ("https://h.example#rc=5&rp=all", "https://h.example/x"),
        ("https://H.Example", "https://H.Example/x"),
    ],
)
def test_public_url_stands_before_the_raw_path(configured: str, called: str) -> None:
    assert verifier(configured).verify("/x", FORM, None, sign(TOKEN, called, FORM))


def test_userinfo_and_fragment_are_not_signed() -> None:
    assert sign(TOKEN, "https://user:pass@h.example/x#rc=5", FORM) == sign(TOKEN, "https://h.example/x", FORM)


@pytest.mark.parametrize("path", ["/x?", "//x/../y?", "/x?a=%20b+c&a", "/x/"])
def test_path_counts_byte_for_byte(path: str) -> None:
    signature = sign(TOKEN, "https://bot.example.com" + path, FORM)
    assert verify(path, FORM, signature)
    assert verify(path + "&", FORM, signature) is Verdict.FORGED


@pytest.mark.parametrize("signature", [None, ""])
def test_no_signature_is_missing(signature: str | None) -> None:
    assert verify("/x", FORM, signature) is Verdict.MISSING


def test_every_configured_token_may_sign() -> None:
    both = verifier("https://h.example", "old", "new")
    for token in ("old", "new"):
        assert both.verify("/x", FORM, None, sign(token, "https://h.example/x", FORM))
    assert not both.verify("/x", FORM, None, sign("stolen", "https://h.example/x", FORM))


def test_blank_values_and_repeated_keys_are_signed_distinct_and_sorted() -> None:
    form = [("b", "2"), ("b", "1"), ("a", ""), ("b", "2")]
    assert verify("/x", form, sign(TOKEN, "https://bot.example.com/xab1b2", []))


def test_shared_keys_sign_with_sha256() -> None:
    url = "https://bot.example.com/x"
    signature = sign(TOKEN, url, FORM, HMAC_SHA256)
    settings = "key=webhooks_sharedkey_01,algorithm=HMAC_SHA256"
    assert signature == RequestValidator(TOKEN).compute_signature(url, dict(FORM), HMAC_SHA256)
    assert verify("/x", FORM, signature, settings)
    assert verify("/x", FORM, signature) is Verdict.FORGED
    assert verify("/x", FORM, sign(TOKEN, url, FORM), settings) is Verdict.FORGED


@pytest.mark.parametrize("algorithm", ["HMAC_MD5", "none", "HMAC_SHA512", "\ud800"])
def test_unknown_algorithm_is_forged(algorithm: str) -> None:
    assert (
        verify("/x", FORM, sign(TOKEN, "https://bot.example.com/x", FORM), f"algorithm={algorithm}") is Verdict.FORGED
    )


def test_json_counts_by_the_signed_hash_of_its_body() -> None:
    body = b'{"a": 1}'
    path = f"/x?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = sign(TOKEN, "https://bot.example.com" + path)
    assert verifier().verify(path, None, body, signature)
    assert verifier().verify(path, None, b'{"a": 2}', signature) is Verdict.FORGED
    assert verify(path, FORM, signature) is Verdict.FORGED


def test_json_without_a_signed_hash_is_forged() -> None:
    for path in ("/x", "/x?bodySHA256=", "/x?bodySHA256=%C3%B1"):
        assert verifier().verify(path, None, b"{}", sign(TOKEN, "https://bot.example.com" + path)) is Verdict.FORGED


@given(
    path=st.text(),
    form=st.none() | st.lists(st.tuples(st.text(), st.text()), max_size=5),
    body=st.none() | st.binary(max_size=50),
    signature=st.none() | st.text(),
    settings=st.none() | st.text() | st.just("algorithm=HMAC_SHA256"),
)
def test_no_input_raises_or_passes(
    path: str, form: list[tuple[str, str]] | None, body: bytes | None, signature: str | None, settings: str | None
) -> None:
    assert not verifier().verify(path, form, body, signature, settings)


@pytest.mark.parametrize(
    ("path", "form", "signature"),
    [
        ("/\ud800", FORM, "abc"),
        ("/x", [("Body", "\udfff")], "abc"),
        ("/x", FORM, "ñ" * 28),
        ("/x", FORM, "\ud800"),
        ("/x?bodySHA256=" + "&a=" * 200, None, "abc"),
    ],
)
def test_hostile_input_is_forged(path: str, form: list[tuple[str, str]] | None, signature: str) -> None:
    assert verifier().verify(path, form, b"", signature) is Verdict.FORGED


@pytest.mark.parametrize("tokens", [[], [""], ["", ""]])
def test_without_a_token_nothing_starts(tokens: list[str]) -> None:
    with pytest.raises(ConfigError, match="auth_token"):
        Verifier(ACCOUNT, tokens, "https://h.example")


@pytest.mark.parametrize(
    "url", ["", "h.example", "ftp://h.example", "https://", "https://h:x", "https://[", "https://h?a=1"]
)
def test_an_unusable_public_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="public_url"):
        Verifier(ACCOUNT, [TOKEN], url)
