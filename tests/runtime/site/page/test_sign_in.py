"""Who may look at the fleet: real TLS, a real OpenID Connect provider, and what must not work."""

from __future__ import annotations

import re
import socket
import ssl
import warnings
from contextlib import contextmanager

import pytest
from pydantic import ValidationError

from tests.conftest import module_or_skip
from tests.support.browser import violations
from tests.support.certificates import Authority

module_or_skip("sqlalchemy", "extra [site] is not installed")
httpx2 = module_or_skip("httpx2", "extra [site-openid] is not installed")

from runtime.site.config.page_settings import OpenIdSettings, PageSettings  # noqa: E402
from runtime.site.sign_in.access_middleware import COOKIE  # noqa: E402
from runtime.site.sign_in.passwords import set_password  # noqa: E402
from runtime.site.sign_in.sessions import SessionBook  # noqa: E402
from runtime.web.attempts import AT_ONCE, Attempts  # noqa: E402

NAME, PASSWORD = "ada", "correct horse battery"
PATHS = ("/", "/live", "/units/st-anna/mammo-1", "/static/fleet.js", "/text/en.json", "/nothing")


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def tls(authority):
    certificate, key = authority.issue("page", address="127.0.0.1")
    return {"certificate_file": certificate, "key_file": key}


@pytest.fixture
def make_client(authority):
    """A browser without a screen: keeps cookies, follows no redirect."""
    clients = []

    def make():
        context = ssl.create_default_context(cafile=authority.file)
        clients.append(httpx2.Client(verify=context, timeout=30.0))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def guarded(make_bench, tls, tmp_path):
    """A page behind TLS and a password file."""
    file = tmp_path / "site.passwords"
    set_password(file, NAME, PASSWORD)
    bench = make_bench(password_file=file, **tls)
    bench.page.start()
    return bench


def hidden_word(answer) -> str:
    return re.search(r'name="csrf" value="([^"]+)"', answer.text)[1]


def sign_in(client, bench, *, name=NAME, password=PASSWORD, csrf=None, **options):
    csrf = csrf or hidden_word(client.get(bench.url + "sign-in"))
    fields = {"csrf": csrf, "name": name, "password": password}
    return client.post(bench.url + "sign-in", data=fields, **options)


def test_nothing_is_shown_before_the_sign_in(guarded, client):
    """No page, no figure, no module; a browser is led to the form, a tool is told."""
    for path in PATHS:
        assert client.get(guarded.url.rstrip("/") + path).status_code == 401, path
    led = client.get(guarded.url, headers={"accept": "text/html"})
    assert (led.status_code, led.headers["location"]) == (303, "/sign-in")


def test_the_right_password_opens_and_signing_out_closes(guarded, client):
    """A new cookie at the sign-in; after the sign-out the old one is worth nothing."""
    client.get(guarded.url + "sign-in")
    before = client.cookies[COOKIE]
    answer = sign_in(client, guarded)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    held = client.cookies[COOKIE]
    assert held != before
    page = client.get(guarded.url)
    assert page.status_code == 200
    assert NAME in page.text
    assert client.post(guarded.url + "sign-out", data={"csrf": "wrong"}).status_code == 403
    out = client.post(guarded.url + "sign-out", data={"csrf": hidden_word(page)})
    assert out.status_code == 303
    client.cookies.set(COOKIE, held)
    assert client.get(guarded.url).status_code == 401


def test_wrong_passwords_are_refused_and_limited(guarded, client, make_client):
    """Neither name nor reason is told apart; after some attempts even the right one waits."""
    csrf = hidden_word(client.get(guarded.url + "sign-in"))
    told = {
        hidden_free(sign_in(client, guarded, name=name, password="wrong wrong wrong", csrf=csrf))
        for name in (NAME, "nobody")
    }
    assert len(told) == 1
    statuses = [
        sign_in(client, guarded, password="wrong", csrf=csrf).status_code for _ in range(AT_ONCE)
    ]
    assert statuses[-1] == 429
    assert sign_in(make_client(), guarded).status_code == 429


def hidden_free(answer) -> str:
    assert answer.status_code == 403
    return re.sub(r'value="[^"]+"', "", answer.text)


def test_another_sites_page_cannot_sign_anybody_in(guarded, client, make_client):
    """Without the session's hidden word, from elsewhere, or with somebody else's word: refused."""
    client.get(guarded.url + "sign-in")
    assert sign_in(client, guarded, csrf="guessed").status_code == 403
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert sign_in(client, guarded, headers=elsewhere).status_code == 403
    stranger = make_client()
    word = hidden_word(stranger.get(guarded.url + "sign-in"))
    assert sign_in(client, guarded, csrf=word).status_code == 403
    assert client.post(guarded.url, data={}).status_code in (401, 403)


def test_a_form_without_end_is_cut_off(guarded, client):
    """More than a few fields is no sign-in."""
    word = hidden_word(client.get(guarded.url + "sign-in"))
    answer = sign_in(client, guarded, csrf=word, password="x" * 100_000)
    assert answer.status_code == 413


def test_every_answer_has_the_security_headers(guarded, client):
    """Also the refusals."""
    for path in ("/", "/sign-in", "/nothing", "/static/web.css"):
        headers = client.get(guarded.url.rstrip("/") + path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "max-age" in headers["strict-transport-security"]


def test_a_stream_ends_with_its_session(guarded, client):
    """Whoever signed out in another window sees no further frame."""
    guarded.born("mammo-1")
    sign_in(client, guarded)
    page = client.get(guarded.url)
    with client.stream("GET", guarded.url + "live") as stream:
        lines = stream.iter_lines()
        assert any("board" in line for line in lines)
        client.post(guarded.url + "sign-out", data={"csrf": hidden_word(page)})
        assert [line for line in lines if line.startswith("event: board")] in ([], ["event: board"])


def test_without_a_login_only_this_machine_is_served(bench):
    """A foreign name that leads to the loopback address is refused (DNS rebinding)."""
    with httpx2.Client() as client:
        assert client.get(bench.url).status_code == 200
        assert client.get(bench.url, headers={"host": "evil.example"}).status_code == 421
        assert client.post(bench.url + "live").status_code == 403


@pytest.mark.parametrize(
    ("given", "fault"),
    [({"host": "0.0.0.0"}, "beyond this machine"),
     ({"host": "0.0.0.0", "password_file": "p"}, "beyond this machine"),
     ({"host": "0.0.0.0", "certificate_file": "c", "key_file": "k"}, "beyond this machine"),
     ({"certificate_file": "c"}, "go together"),
     ({"address": "http://fleet.example"}, "https"),
     ({"openid": {"issuer": "https://id.example", "client_id": "x", "allowed": ["*"]}}, "address"),
     ({"address": "https://f", "openid": {"issuer": "http://id.example", "client_id": "x",
                                          "allowed": ["*"]}}, "https"),
     ({"openid": {"issuer": "https://id.example", "client_id": "x"}}, "allowed")],
)  # fmt: skip
def test_an_open_door_is_refused_at_the_start(given, fault):
    """Beyond loopback without TLS and login, halves of TLS, a provider in clear: no start."""
    with pytest.raises(ValidationError, match=fault):
        PageSettings.model_validate(given)


def test_the_sign_in_is_accessible_and_leads_in(guarded, open_page):
    """axe-core finds nothing on the form, nor after a wrong password; the keyboard suffices."""
    page = open_page(ignore_https_errors=True)
    page.goto(guarded.url)
    assert violations(page) == []
    for password in ("wrong wrong wrong", PASSWORD):
        page.locator("[name=name]").fill(NAME)
        page.locator("[name=password]").fill(password)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        if password != PASSWORD:
            assert page.get_by_role("alert").inner_text()
            assert violations(page) == []
    assert page.url == guarded.url
    page.locator("#live", has_text="Live").wait_for()
    assert violations(page) == []


# --- OpenID Connect -------------------------------------------------------------------------------


@contextmanager
def provider():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mock's own deprecations
        mock = module_or_skip("oidc_provider_mock", "extra [test] is not installed")
    people = [
        mock.User(sub="1", claims={"email": "ada@st-anna.example", "email_verified": True}),
        mock.User(sub="2", claims={"email": "eve@else.example", "email_verified": True}),
        mock.User(sub="3", claims={"email": "ada@st-anna.example", "email_verified": False}),
        mock.User(sub="4", claims={"groups": ["physics", "fleet"]}),
    ]
    with mock.run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def by_provider(make_bench, tls, tmp_path):
    """A page whose people the provider knows; `allowed` by e-mail unless told."""
    secret = tmp_path / "client.secret"
    secret.write_text("s3cret\n")
    with provider() as issuer, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()

        def make(**openid):
            facts = {"allowed": ("ada@st-anna.example",)} | openid
            settings = OpenIdSettings(
                issuer=issuer, client_id="fleet", client_secret_file=secret, **facts
            )
            bench = make_bench(
                port=port, address=f"https://127.0.0.1:{port}", openid=settings, **tls
            )
            bench.page.start()
            return bench

        yield make


def come_back(client, bench, sub):
    """Through the provider, as a browser would; the answer at the page's own door."""
    leave = client.get(bench.url + "sign-in/openid")
    assert leave.status_code == 302, leave.text
    sent = leave.headers["location"]
    assert "code_challenge_method=S256" in sent
    assert "nonce=" in sent
    back = client.post(sent, data={"sub": sub})
    assert back.status_code == 302, back.text
    return client.get(back.headers["location"]), back.headers["location"]


def test_the_provider_vouches_for_who_may_come_in(by_provider, client):
    """Code flow with PKCE, state and nonce; then the page greets by name."""
    bench = by_provider()
    answer, _ = come_back(client, bench, "1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "ada@st-anna.example" in client.get(bench.url).text


@pytest.mark.parametrize("sub", ["2", "3", "4"])
def test_whom_the_settings_do_not_name_stays_outside(by_provider, client, sub):
    """Somebody else, an address that nobody checked, and none at all."""
    bench = by_provider()
    answer, _ = come_back(client, bench, sub)
    assert answer.status_code == 403
    assert client.get(bench.url).status_code == 401


def test_a_group_may_be_what_counts(by_provider, client):
    """A claim with several values; one of them is enough."""
    bench = by_provider(claim="groups", allowed=("fleet",))
    answer, _ = come_back(client, bench, "4")
    assert answer.status_code == 303


def test_an_answer_of_the_provider_works_once_and_in_one_browser(by_provider, client, make_client):
    """A code that was caught is worth nothing elsewhere; a replayed or made-up state neither."""
    bench = by_provider()
    sent = client.get(bench.url + "sign-in/openid").headers["location"]
    caught = client.post(sent, data={"sub": "1"}).headers["location"]
    assert make_client().get(caught).status_code == 403
    assert client.get(caught).status_code == 303
    assert client.get(caught).status_code == 403
    made_up = bench.url + "sign-in/openid/back?code=x&state=y"
    assert make_client().get(made_up).status_code == 403


def test_a_provider_that_is_away_is_said(make_bench, tls, client):
    """The page stays; it says what does not work."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    openid = OpenIdSettings(issuer=f"http://127.0.0.1:{closed}", client_id="fleet", allowed=("*",))
    bench = make_bench(address="https://127.0.0.1", openid=openid, **tls)
    bench.page.start()
    assert client.get(bench.url + "sign-in/openid").status_code == 502
    assert client.get(bench.url + "sign-in").status_code == 200


# --- parts ----------------------------------------------------------------------------------------


def test_a_session_ends_by_itself_and_thousands_do_not_push_people_out():
    """The longest time counts from the sign-in; sign-in pages without a person go first."""
    now = [0.0]
    book = SessionBook(longest_s=100, monotonic=lambda: now[0])
    cookie, session = book.begin("ada")
    for _ in range(3000):
        book.begin()
    assert book.find(cookie) is session
    now[0] = 101
    assert book.find(cookie) is None
    assert not book.stands(session)
    assert book.find("no such cookie") is None


def test_attempts_are_counted_by_network_and_recover():
    """One /64 is one attacker; a neighbour still may; after a while one may again."""
    now = [0.0]
    attempts = Attempts(monotonic=lambda: now[0])
    assert [attempts.allows(f"2001:db8::{n}") for n in range(AT_ONCE + 1)].count(True) == AT_ONCE
    assert attempts.allows("2001:db8:0:1::1")
    now[0] += 31
    assert attempts.allows("2001:db8::9")


def test_attempts_from_everywhere_do_not_lock_out_where_somebody_has_signed_in():
    """The limit of all together is for addresses from which nobody ever came in."""
    attempts = Attempts(monotonic=lambda: 0.0)
    attempts.succeeded("192.0.2.1")
    tried = [attempts.allows(f"198.51.100.{n}") for n in range(200)]
    assert not tried[-1]
    assert attempts.allows("192.0.2.1")
