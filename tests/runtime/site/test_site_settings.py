"""site.toml: every fault in one go, unknown keys refused; the check says what is wrong where."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.cli import main
from runtime.settings import SettingsError
from runtime.site.settings import load_site_settings
from tests.brokers import free_port

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
    }


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


@pytest.mark.parametrize("option", ["--units", "--exams", "--services", "--processes"])
def test_a_simulation_of_nothing_is_wrong_usage(option, capsys):
    """Told with the option's name and exit code 2, before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate-site", option, "0"])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err
