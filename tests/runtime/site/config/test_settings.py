"""site.toml: every fault in one go, unknown keys refused; the check says what is wrong where."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from tests.support.waiting import LONG_S, joined

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.cli.main import main
from runtime.site.config.settings import load_site_settings
from runtime.user_input.settings_section import SettingsError
from tests.support.brokers import free_port

GOOD = """
[site]
name = "st-anna"
[broker]
host = "127.0.0.1"
port = 1
tls = false
"""


@pytest.fixture
def written(tmp_path):
    """Writes a site.toml; its path."""

    def write(text):
        path = tmp_path / "site.toml"
        path.write_text(text)
        return path

    return write


def test_a_short_file_is_enough_and_paths_are_its_folders(written, tmp_path):
    """Ninety days in a file beside site.toml."""
    settings = load_site_settings(written(GOOD))
    assert settings.store.database == str(tmp_path / "site.db")
    assert settings.store.keep_days == 90
    assert settings.listen.group is None


def test_every_fault_is_told_in_one_go(written):
    """Key and expectation of each; a misspelt key is a fault, not a silence."""
    text = (
        GOOD.replace("st-anna", "st/anna")
        + """
[store]
database = "mysql://h/d"
keep_day = 3
[watch]
silent_after_s = 1
[webhook]
url = "http://alerts.example/api/v2/alerts"
bearer_token_file = "token"
"""
    )
    with pytest.raises(SettingsError) as refused:
        load_site_settings(written(text))
    told = " ".join(refused.value.faults)
    for key in ("site.name", "store.database", "store.keep_day", "watch.silent_after_s", "webhook"):
        assert key in told


def test_the_check_names_what_does_not_work(written, capsys):
    """No broker: exit code 1, and the verdicts say that the rest is well."""
    text = GOOD.replace("port = 1", f"port = {free_port()}\nconnect_timeout_s = 1")
    assert main(["site", "--config", str(written(text)), "--check", "--json"]) == 1
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {v["check"]: v["ok"] for v in verdicts} == {
        "settings": True,
        "database": True,
        "packages": True,
        "broker": False,
        "ports": True,
    }


@pytest.fixture
def listening():
    """A port on which something listens that never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def problem_of(name, text, written, capsys) -> str:
    """What the check says about that; "" if it is well."""
    file = written(GOOD.replace("port = 1", f"port = {free_port()}\nconnect_timeout_s = 1") + text)
    main(["site", "--config", str(file), "--check", "--json"])
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (told,) = [v["problem"] for v in verdicts if v["check"] == name]
    return told


def test_the_check_reaches_the_webhook_without_a_word(written, capsys, listening):
    """A listener that answers nothing is enough: whatever is posted there may wake somebody."""
    door = '[webhook]\nurl = "http://127.0.0.1:{}/api/v2/alerts"\ntimeout_s = 5\n'
    assert problem_of("webhook", door.format(listening), written, capsys) == ""
    nobody = problem_of("webhook", door.format(free_port()), written, capsys)
    assert "127.0.0.1" in nobody
    assert "refused" in nobody


def test_the_check_trusts_no_webhook_that_does_not_speak_tls(written, capsys):
    """https:// that answers in clear is told, by its host's name."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        answering = threading.Thread(target=_answer_in_clear, args=(door,))
        answering.start()
        url = f"https://127.0.0.1:{door.getsockname()[1]}/alerts"
        told = problem_of("webhook", f'[webhook]\nurl = "{url}"\n', written, capsys)
        joined(answering, "the webhook is asked")
    assert told.startswith("127.0.0.1: ")


def _answer_in_clear(door) -> None:
    door.settimeout(LONG_S)
    with door.accept()[0] as caller:
        caller.settimeout(LONG_S)
        caller.recv(4096)
        caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_the_check_names_a_port_that_is_taken(written, capsys, listening):
    """By section and number; another's listener is not mistaken for the service itself."""
    told = problem_of("ports", f"[metrics]\nport = {listening}\n", written, capsys)
    assert told.startswith(f"metrics.port {listening} on 127.0.0.1: ")


def test_the_check_finds_two_sections_at_one_address(written, capsys):
    """Each alone would do; the second is told."""
    port = free_port()
    told = problem_of(
        "ports", f"[metrics]\nport = {port}\n[page]\nport = {port}\n", written, capsys
    )
    assert told.startswith(f"page.port {port}")


def test_a_damaged_package_is_told_by_file_and_field(written, tmp_path, capsys):
    """The check says so, and the start is refused: exit code 2, no trace."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "manifest.json").write_text("{")
    damaged = '[watch]\npackages = ["package"]\n[metrics]\nenabled = false\n'
    assert problem_of("packages", damaged, written, capsys).startswith("watch.packages.0: ")
    assert main(["site", "--config", str(tmp_path / "site.toml")]) == 2
    told = capsys.readouterr().err
    assert "site.toml" in told
    assert "watch.packages.0: " in told


@pytest.mark.parametrize(
    ("page", "fault"),
    [('password_file = "site.passwords"', "site.passwords cannot be read"),
     ('certificate_file = "page.pem"\nkey_file = "page.key"', "page.pem cannot be read"),
     ('certificate_file = "site.toml"\nkey_file = "site.toml"', "no certificate with its key")],
)  # fmt: skip
def test_the_check_opens_the_files_of_the_page(written, capsys, page, fault):
    """What would stop the start is told before it, by the file's name; and stops the start."""
    text = GOOD.replace("port = 1", f"port = {free_port()}\nconnect_timeout_s = 1")
    file = written(f"{text}\n[metrics]\nenabled = false\n[page]\nport = 0\n{page}\n")
    assert main(["site", "--config", str(file), "--check", "--json"]) == 1
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (told,) = [v["problem"] for v in verdicts if v["check"] == "page"]
    assert fault in told
    assert main(["site", "--config", str(file)]) == 2
    assert fault in capsys.readouterr().err


def test_a_wrong_day_is_told_before_anything_is_written(written, tmp_path, capsys):
    """Exit code 2 and the option's name; no file."""
    output = tmp_path / "exams.csv"
    arguments = ["--config", str(written(GOOD)), "--since", "yesterday", "-o", str(output)]
    assert main(["site", "export", *arguments]) == 2
    assert "--since" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--units", "0"), ("--exams", "0"), ("--services", "0"), ("--processes", "0"),
     ("--exams-per-second", "-1"), ("--exams-per-second", "nan")],
)  # fmt: skip
def test_a_simulation_of_nothing_is_wrong_usage(option, value, capsys):
    """Told with the option's name and exit code 2, before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate-site", f"{option}={value}"])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err
