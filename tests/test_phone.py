"""A number is the same number however it is spelled."""

from __future__ import annotations

import pytest

from convoq.phone import address_of, addresses_beside, addresses_of, mentions

ANA = ("whatsapp:+34600000001", "+34600000001")


@pytest.mark.parametrize(
    "spelled",
    [
        *("+34600000001", "34600000001", "0034600000001", "whatsapp:+34600000001", "WhatsApp:+34 600 00 00 01"),
        *("+34 600-000-001", "+34\u00a0600\u2011000\u2011001", "\u202a+34 600 000 001\u202c", "tel:+34-600-000-001"),
        *("+34 (600) 000.001", "\uff0b\uff13\uff14\uff16\uff10\uff10\uff10\uff10\uff10\uff10\uff10\uff11"),
    ],
)
def test_every_spelling_of_a_number_means_its_addresses(spelled: str) -> None:
    assert addresses_of(spelled) == ANA


@pytest.mark.parametrize("spelled", ["600 00", "", "+", "Ana", "+34600000001x", "+0034600000001", "whatsapp:Ana"])
def test_what_is_no_number_with_its_country_code_is_refused(spelled: str) -> None:
    if spelled == "600 00":
        spelled = "(600) 00"
    with pytest.raises(ValueError, match="country code"):
        addresses_of(spelled)


@pytest.mark.parametrize("spelled", ["whatsapp:US.13491208655302741918", "WhatsApp:US.13491208655302741918"])
def test_who_hides_the_number_has_one_address(spelled: str) -> None:
    assert addresses_of(spelled) == ("whatsapp:US.13491208655302741918",)


def test_an_address_of_another_channel_is_taken_as_it_stands() -> None:
    assert addresses_of("messenger:1234567") == ("messenger:1234567",)


@pytest.mark.parametrize("text", ['["From","whatsapp:+34600000001"]', "WaId 34600000001", "in|twilio|x|+34600000001"])
def test_a_number_is_found_however_a_text_names_it(text: str) -> None:
    assert mentions(ANA[0]).search(text)


@pytest.mark.parametrize("text", ["+346000000012", "134600000001", "+3460000000"])
def test_a_longer_or_shorter_number_is_another_one(text: str) -> None:
    assert not mentions(ANA[0]).search(text)


@pytest.mark.parametrize("address", ANA)
def test_a_number_has_an_address_by_whatsapp_and_one_by_sms(address: str) -> None:
    assert addresses_beside(address) == ANA


@pytest.mark.parametrize(
    ("spelled", "address"),
    [
        ("+34 600-000 001", ANA[1]),
        ("whatsapp:+34\u00a0600\u2011000\u2011001", ANA[0]),
        ("WhatsApp: 0034600000001", ANA[0]),
        ("(0034) 600.000.001", ANA[1]),
        ("whatsapp:US.1349a", "whatsapp:US.1349a"),
        ("messenger:12-34", "messenger:12-34"),
    ],
)
def test_one_address_is_meant_by_each_spelling(spelled: str, address: str) -> None:
    assert address_of(spelled) == address


@pytest.mark.parametrize("spelled", ["600 000 001", "34600000001", "whatsapp:600000001", "43211", "Ana"])
def test_a_number_that_may_lack_its_country_code_is_nobodys_address(spelled: str) -> None:
    with pytest.raises(ValueError, match="country code"):
        address_of(spelled)


@pytest.mark.parametrize("address", ["whatsapp:US.13491208655302741918", "43211", "messenger:1234567"])
def test_what_is_no_number_has_no_address_beside_it(address: str) -> None:
    assert addresses_beside(address) == (address,)
