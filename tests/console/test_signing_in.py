"""How an operator comes to the pages, and how everybody else does not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256

import pytest
from yarl import URL

from convoq.console import door, uses
from convoq.conversations.access import AccessRole
from convoq.conversations.sessions import IDLE_LIFE, LINK_LIFE, LONGEST_LIFE, Sessions
from convoq.settings import Options
from convoq.settings.options import ConsoleSettings
from tests.api.conftest import Events
from tests.console.browser import link, signed_in, visit
from tests.console.site import Api, acts, open_api
from tests.handlers.house import House
from tests.stores import only_sqlite


async def test_a_link_signs_in_and_is_then_used_up(api: Api) -> None:
    secret = await link(api)
    async with visit(api) as browser, visit(api) as thief:
        shown = await browser.get(f"/login?code={secret}")
        assert (shown.status, "Sign in as Marta?" in shown.text) == (200, True)
        assert (await browser.post("/login", code=secret)).location == "/"
        assert (await browser.get("/inbox")).status == 200
        assert (await thief.post("/login", code=secret)).status == 401
        assert (await thief.get("/")).location == "/login"


async def test_two_browsers_that_follow_one_link_at_once_are_one_session(api: Api) -> None:
    secret = await link(api)
    async with visit(api) as one, visit(api) as other:
        seen = await asyncio.gather(one.post("/login", code=secret), other.post("/login", code=secret))
    assert sorted(each.status for each in seen) == [303, 401]


@only_sqlite
async def test_to_look_at_the_link_uses_nothing_up(api: Api) -> None:
    secret = await link(api)
    async with visit(api) as preview:
        await preview.get(f"/login?code={secret}")
        assert (await preview.post("/login", code=secret)).status == 303


async def test_after_a_quarter_of_an_hour_a_link_lets_in_no_more(api: Api) -> None:
    secret = await link(api)
    api.house.clock.advance(LINK_LIFE.total_seconds())
    async with visit(api) as browser:
        assert (await browser.get(f"/login?code={secret}")).status == 401
        assert (await browser.post("/login", code=secret)).status == 401


@only_sqlite
@pytest.mark.parametrize("code", ["", "x", "\u00e9", "x" * 5000], ids=["none", "short", "not ascii", "long"])
async def test_what_is_no_link_lets_nobody_in(code: str, api: Api) -> None:
    async with visit(api) as browser:
        assert (await browser.post("/login", code=code)).status == 401


async def test_the_database_holds_neither_the_link_nor_the_session(api: Api) -> None:
    secret = await link(api)
    async with visit(api) as browser:
        seen = await browser.post("/login", code=secret)
    cookie = seen.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    rows = await api.house.rows("SELECT (SELECT hash FROM sign_in_links), hash FROM sessions")
    assert rows == [(sha256(secret.encode()).hexdigest(), sha256(cookie.encode()).hexdigest())]


@only_sqlite
async def test_on_this_machine_the_cookie_names_the_port(api: Api) -> None:
    async with visit(api) as browser:
        cookie = (await browser.post("/login", code=await link(api))).headers["Set-Cookie"]
    assert cookie.startswith(f"convoq-{api.server.port}=")
    assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


@only_sqlite
async def test_behind_a_proxy_with_tls_the_cookie_is_bound_to_the_host(house: House) -> None:
    options = Options(console=ConsoleSettings(names=("desk.example.com",)))
    async with open_api(house, options=options) as api, visit(api) as browser:
        secret = await link(api)
        headers = {"Host": "desk.example.com", "Sec-Fetch-Site": "same-origin"}
        cookie = (await browser.post("/login", headers=headers, code=secret)).headers["Set-Cookie"]
    assert cookie.startswith("__Host-convoq=")
    assert {"HttpOnly", "Path=/", "SameSite=Strict", "Secure"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


@pytest.mark.parametrize("life", [IDLE_LIFE, LONGEST_LIFE], ids=["idle", "whole"])
async def test_a_session_ends_by_itself(life: timedelta, api: Api) -> None:
    async with signed_in(api) as browser:
        if life is LONGEST_LIFE:
            api.house.clock.advance((life - IDLE_LIFE / 2).total_seconds())
            await Sessions(api.house.database).note_use(1)
            life = IDLE_LIFE / 2
        api.house.clock.advance(life.total_seconds() - 1)
        assert (await browser.get("/inbox")).status == 200
        api.house.clock.advance(1)
        assert (await browser.get("/inbox")).location == "/login"


@only_sqlite
async def test_a_page_that_asks_by_itself_keeps_no_session_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "NOTED_EVERY", 0.0)
    async with signed_in(api) as browser:
        api.house.clock.advance(IDLE_LIFE.total_seconds() - 1)
        assert (await browser.get("/inbox", **{"X-Requested-With": "fetch"})).status == 200
        api.house.clock.advance(1)
        assert (await browser.get("/inbox")).location == "/login"


@only_sqlite
async def test_who_signs_out_is_out_on_the_server(api: Api) -> None:
    async with signed_in(api) as browser:
        kept = browser.session.cookie_jar.filter_cookies(URL(browser.url))
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in kept.items())
        assert (await browser.post("/logout")).location == "/login?signed-out"
        assert (await browser.get("/inbox", Cookie=cookie)).location == "/login"


async def test_an_admin_ends_a_session_and_a_removal_ends_all(api: Api) -> None:
    async with signed_in(api) as marta, signed_in(api, "Ben") as ben:
        await acts(api.house.database).end_session(1)
        assert [(await one.get("/inbox")).status for one in (marta, ben)] == [303, 200]
        unused = await link(api, "Ben")
        await acts(api.house.database).remove_operator("Ben")
        assert (await ben.get("/inbox")).status == 303
        assert (await ben.post("/login", code=unused)).status == 401


async def test_each_sign_in_and_sign_out_is_on_record(api: Api) -> None:
    async with signed_in(api) as browser:
        await browser.post("/logout")
    rows = await api.house.rows("SELECT who, act, subject, way FROM audit ORDER BY id DESC LIMIT 3")
    assert rows == [
        ("Marta", "sign_out", "session:1", "page"),
        ("Marta", "sign_in", "session:1", "page"),
        ("Ana the boss", "issue_link", "operator:Marta", None),
    ]


@only_sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
    ids=["another site", "a subdomain", "typed", "origin", "no origin", "nothing"],
)  # fmt: skip
async def test_a_form_that_no_page_of_ours_sent_does_nothing(headers: dict[str, str], api: Api) -> None:
    async with signed_in(api) as browser:
        assert (await browser.post("/logout", headers=headers)).status == 403
        assert (await browser.get("/inbox")).status == 200


@only_sqlite
async def test_a_form_needs_the_token_of_its_session(api: Api) -> None:
    async with signed_in(api) as browser, signed_in(api, "Ben") as other:
        for wrong in ("", other.token, "\u00e9"):
            assert (await browser.post("/logout", token=wrong)).status == 403
        assert (await browser.post("/logout", headers={"Origin": browser.url})).status == 303


@only_sqlite
async def test_without_a_session_no_page_is_shown_and_nothing_is_done(api: Api) -> None:
    async with visit(api) as browser:
        for path in ("/", "/inbox", "/inbox/1"):
            assert (await browser.get(path)).location == "/login"
        assert (await browser.get("/events")).status == 401
        assert (await browser.post("/inbox/1/reply", text="Hi.")).status == 401


@only_sqlite
async def test_a_link_on_another_site_comes_through_with_the_next_step(api: Api) -> None:
    async with visit(api) as browser:
        seen = await browser.get("/inbox/7?before=3", **{"Sec-Fetch-Site": "cross-site"})
        assert (seen.status, seen.headers["Refresh"]) == (200, "0; url=/inbox/7?before=3")
        for path in ("/%5Cevil.example/inbox", "//evil.example/inbox", "/events"):
            assert "Refresh" not in (await browser.get(path, **{"Sec-Fetch-Site": "cross-site"})).headers


@only_sqlite
async def test_a_request_for_another_name_is_refused(api: Api) -> None:
    async with visit(api) as browser:
        assert (await browser.get("/login", Host="evil.example")).status == 421


@only_sqlite
async def test_a_token_of_the_api_opens_no_page_and_a_cookie_no_endpoint(api: Api) -> None:
    async with signed_in(api) as browser, visit(api) as program:
        assert (await browser.get("/api/v1/status")).status == 401
        seen = await program.get("/inbox", Authorization=f"Bearer {api.tokens['ben']}")
        assert seen.location == "/login"


@only_sqlite
async def test_every_page_says_what_a_browser_may_do_with_it(api: Api) -> None:
    async with signed_in(api) as browser:
        for path in ("/", "/login", "/nothing", "/static/console.css"):
            headers = (await browser.get(path)).headers
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


@only_sqlite
async def test_failures_are_slowed_down_and_a_few_lines_of_the_log(api: Api, events: Events) -> None:
    async with visit(api) as browser:
        statuses = [(await browser.post("/login", code="x")).status for _ in range(door.FAILURES_AT_ONCE + 3)]
        assert (statuses[0], statuses[-1]) == (401, 429)
        assert (await browser.post("/login", code=await link(api))).status == 303
    lines = [event for event in events if event["event"] == "console.refused"]
    assert 1 <= len(lines) < 10
    assert (lines[0]["reason"], lines[0]["peer"]) == ("its sign-in link is not valid", "127.0.0.1")


@only_sqlite
async def test_a_viewer_is_one(api: Api) -> None:
    async with signed_in(api, "Screen", AccessRole.VIEWER) as browser:
        assert "Screen · viewer" in (await browser.get("/inbox")).text
