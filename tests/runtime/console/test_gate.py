"""Who may look, and what every answer carries. Real HTTP against the real server."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import urllib.parse

import pytest

from runtime.console.access_middleware import TokenRefusedError, read_token
from runtime.console.settings import ConsoleSettings
from runtime.unit.settings import load_settings
from runtime.user_input.settings_section import SettingsError
from tests.conftest import skip_or_fail
from tests.runtime.console.bench import picture
from tests.support.units import UnitProcess
from tests.support.waiting import CHILD_S, wait_until

TOKEN = "a-token-of-more-than-thirty-two-characters"


def ask(bench, path, method="GET", *, body=None, context=None, **headers):
    """(status, headers, body) of one request; `x_mammoedge="1"` becomes a header."""
    where = urllib.parse.urlsplit(bench.url)
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    options = {"context": context} if context else {}
    connection = kind(where.hostname, where.port, timeout=30, **options)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content


def test_every_answer_carries_the_policy(bench):
    """No inline script, no other host, no frame, no cache: on pages, data and errors alike."""
    for path in ("/", "/history", "/static/console.js", "/history.json", "/nothing-here"):
        _, headers, _ = ask(bench, path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


def test_a_foreign_name_for_this_machine_is_refused(bench):
    """DNS rebinding: the address is ours, the name is not."""
    assert ask(bench, "/", host="evil.example")[0] == 421
    assert ask(bench, "/history.json", host="evil.example:8080")[0] == 421
    assert ask(bench, "/", host="localhost:1")[0] == 200


def test_another_sites_page_cannot_acknowledge(bench):
    """Without our own header, or from another site, nothing is changed."""
    key = bench.exam("1.2.3", score=0.9)
    path = f"/exams/{key}/seen"
    assert ask(bench, path, "POST")[0] == 403
    assert ask(bench, path, "POST", x_mammoedge="1", sec_fetch_site="cross-site")[0] == 403
    assert ask(bench, path)[0] == 405
    assert bench.said() == []
    status, _, body = ask(bench, path, "POST", x_mammoedge="1", sec_fetch_site="same-origin")
    assert (status, json.loads(body)) == (200, {"acknowledged": True})
    assert json.loads(ask(bench, path, "POST", x_mammoedge="1")[2]) == {"acknowledged": False}


def test_bad_requests_are_normal(bench):
    """Odd keys, numbers and times are answered, never with a fault of ours."""
    for path in (
        "/exams/..%2f..%2fetc/seen",
        "/exams/x.json",
        "/previews/999.jpg",
        "/text/xx.json",
    ):
        assert ask(bench, path)[0] in (404, 405), path
    assert ask(bench, "/history.json?since_ms=tomorrow")[0] == 400
    assert ask(bench, "/history.json?since_ms=99999999999999999999999999")[0] == 400
    assert ask(bench, "/history.json?accession=%25%5F%5C%27%22")[0] == 200
    assert ask(bench, "/previews/99999999999999999999999999.jpg")[0] == 404
    assert ask(bench, "/static/..%2fapp.py")[0] == 404
    assert ask(bench, "/language/xx")[0] == 303
    assert ask(bench, "/evidence?exam=x")[0] == 404


def test_a_preview_is_served_only_as_the_worker_wrote_it(bench):
    """Bytes that changed on the disk since then are not shown; nor is a foreign path followed."""
    import hashlib
    from dataclasses import replace

    from runtime.image.outcome import Artefact
    from tests.support.builders import result

    bench.receive("1.2.3", "RCC")
    content = picture()
    file = bench.folder / "1.preview.jpg"
    file.write_bytes(content)
    artefact = Artefact(
        kind="preview", path="/etc/passwd", sha256=hashlib.sha256(content).hexdigest()
    )
    bench.judge(replace(result(0.1), artefacts=(artefact,)))
    status, headers, body = ask(bench, "/previews/1.jpg")
    assert (status, headers["content-type"], body) == (200, "image/jpeg", content)
    file.write_bytes(content[:-1] + b"\0")
    assert ask(bench, "/previews/1.jpg")[0] == 404


def test_previews_can_be_switched_off(make_bench):
    """A site that says so gets none, even of images that have one."""
    bench = make_bench(previews=False)
    bench.console.start()
    assert ask(bench, "/previews/1.jpg")[0] == 404


def test_the_export_holds_no_identity(bench):
    """The engineer's file has times, views, devices; no accession number, initials or UID."""
    key = bench.exam("1.2.3.4711", score=0.9, accession="ACC-0815", initials="Q.Z.")
    status, headers, body = ask(bench, f"/exams/{key}.json")
    assert status == 200
    assert "attachment" in headers["content-disposition"]
    timeline = json.loads(body)
    assert {one["what"] for one in timeline["happenings"]} == {"received", "judged", "decided"}
    for secret in (b"ACC-0815", b"Q.Z.", b"1.2.3.4711", b"1.2.9."):
        assert secret not in body


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, by openssl."""
    folder = tmp_path_factory.mktemp("certificate")
    try:
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            " -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
            f" -keyout {folder}/key.pem -out {folder}/cert.pem".split(),
            check=True,
            capture_output=True,
            timeout=CHILD_S,
        )
    except FileNotFoundError:
        skip_or_fail("openssl is not installed")
    (folder / "token").write_text(TOKEN + "\n")
    return folder


@pytest.fixture
def guarded(make_bench, certificate):
    """A console that is open to the network, and the TLS context that trusts it."""
    bench = make_bench(
        host="127.0.0.1",
        certificate_file=certificate / "cert.pem",
        key_file=certificate / "key.pem",
        token_file=certificate / "token",
    )
    bench.console.start()
    return bench, ssl.create_default_context(cafile=certificate / "cert.pem")


def test_with_a_token_nothing_is_shown_before_the_sign_in(guarded):
    """Pages lead to the sign-in, data is refused; the token's cookie opens both."""
    bench, context = guarded
    for path in ("/history.json", "/live", "/previews/1.jpg", "/text/en.json"):
        assert ask(bench, path, context=context)[0] == 401, path
    status, headers, _ = ask(bench, "/", context=context, accept="text/html")
    assert (status, headers["location"]) == (303, "/sign-in")
    assert ask(bench, "/sign-in", context=context)[0] == 200
    wrong = ask(bench, "/sign-in", "POST", context=context, body="token=wrong")
    assert wrong[0] == 403
    assert "set-cookie" not in wrong[1]
    right = ask(bench, "/sign-in", "POST", context=context, body=f"token={TOKEN}")
    cookie = right[1]["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict"))
    assert TOKEN not in cookie
    assert ask(bench, "/history.json", context=context, cookie=cookie.split(";")[0])[0] == 200
    assert ask(bench, "/history.json", context=context, authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(bench, "/history.json", context=context, cookie="mammoedge_console=x")[0] == 401


def test_wrong_tokens_keep_nobody_out(guarded):
    """After a few wrong ones their address hears 429; the right one, and who is in, pass."""
    bench, context = guarded
    first = ask(bench, "/sign-in", "POST", context=context, body=f"token={TOKEN}")
    cookie = first[1]["set-cookie"].split(";")[0]
    wrong = [
        ask(bench, "/sign-in", "POST", context=context, body="token=guess")[0] for _ in range(40)
    ]
    assert (wrong[0], wrong[-1]) == (403, 429)
    assert ask(bench, "/history.json", context=context, cookie=cookie)[0] == 200
    right = ask(bench, "/sign-in", "POST", context=context, body=f"token={TOKEN}")
    assert right[0] == 303


def test_sign_ins_and_refusals_are_in_the_audit_trail(guarded):
    """When, what, from where, how many; no token, no cookie, nobody's name; its owner's alone."""
    bench, context = guarded
    key = bench.exam("1.2.3.4711", score=0.9, accession="ACC-0815", initials="Q.Z.")
    for _ in range(3):
        ask(bench, "/sign-in", "POST", context=context, body="token=guess")
    ask(bench, f"/exams/{key}.json", context=context)
    ask(bench, "/history.json", context=context, authorization="Bearer guess")
    ask(bench, "/sign-in", "POST", context=context, body=f"token={TOKEN}")
    trail = bench.folder / "console-audit.jsonl"
    lines = [json.loads(line) for line in trail.read_text().splitlines()]
    assert [(line["what"], line["from"]) for line in lines] == [
        ("token_refused", "127.0.0.1"),
        ("not_signed_in", "127.0.0.1"),
        ("signed_in", "127.0.0.1"),
    ]
    assert all(set(line) == {"at", "what", "from", "count"} for line in lines)
    for secret in (TOKEN, "guess", "ACC-0815", "Q.Z.", key):
        assert secret not in trail.read_text()
    assert trail.stat().st_mode & 0o777 == 0o600


def test_x_forwarded_for_is_believed_from_a_named_proxy_only(make_bench, tmp_path):
    """A stranger cannot give itself another address, not even one at this machine."""
    for proxies, expected in (((), "127.0.0.1"), (("127.0.0.1",), "192.0.2.7")):
        folder = tmp_path / str(len(proxies))
        folder.mkdir()
        (folder / "token").write_text(TOKEN)
        bench = make_bench(token_file=folder / "token", trusted_proxies=proxies)
        bench.console.start()
        ask(bench, "/history.json", x_forwarded_for="192.0.2.7")
        line = (bench.folder / "console-audit.jsonl").read_text().splitlines()[-1]
        assert json.loads(line)["from"] == expected
        bench.console.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "unit.example"])
def test_beyond_this_machine_only_with_tls_and_a_token(host, tmp_path):
    """The start is refused, and the reason names what is missing."""
    files = {"certificate_file": "c.pem", "key_file": "k.pem"}
    for missing in ({}, files, {"token_file": "t"}):
        with pytest.raises(ValueError, match="certificate_file, key_file and token_file"):
            ConsoleSettings(enabled=True, host=host, **missing)
    ConsoleSettings(enabled=True, host=host, **files, token_file="t")
    unit = UnitProcess(tmp_path / "u", package=tmp_path, broker_port=1, console=f'host = "{host}"')
    with pytest.raises(SettingsError) as caught:
        load_settings(unit.config, {})
    assert any("console" in fault and "token_file" in fault for fault in caught.value.faults)


def test_a_short_token_stops_the_start(tmp_path):
    """Less than 32 characters, or no file at all."""
    short = tmp_path / "short"
    short.write_text("secret")
    for file in (short, tmp_path / "missing"):
        with pytest.raises(TokenRefusedError) as caught:
            read_token(file)
        assert "secret" not in str(caught.value)


def test_the_readers_page_must_be_accepted_in_words(tmp_path):
    """`true` is not enough: the setting names the class of device that it makes of the product."""
    for value in (True, "yes"):
        with pytest.raises(ValueError, match=r"892\.2070"):
            ConsoleSettings(enabled=True, evidence_page=value)
    words = "detection aid, 21 CFR 892.2070; no longer triage, 21 CFR 892.2080"
    unit = UnitProcess(
        tmp_path / "u", package=tmp_path, broker_port=1, console=f'evidence_page = "{words}"'
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(unit.config, {})
    assert "console.evidence_page: needs worker.evidence_maps = true" in caught.value.faults


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_ends_the_page_whole_and_it_can_be_started_again(make_bench):
    """No server that serves without news: the thread ends, the service sees it and starts it."""
    bench = make_bench()

    def read():
        raise RuntimeError("a defect of ours")

    whole, bench.reader.board = bench.reader.board, read
    bench.console.start()
    wait_until(lambda: not bench.console.alive, "the thread ended")
    with pytest.raises(OSError):  # noqa: PT011 - refused: nobody listens
        ask(bench, "/")
    bench.reader.board = whole
    bench.console.start()
    assert ask(bench, "/history.json")[0] == 200
