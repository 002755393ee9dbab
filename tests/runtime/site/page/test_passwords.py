"""The password file: what it holds, who may read it, and what it refuses."""

from __future__ import annotations

import io
import os
import pwd
import stat

import pytest

from runtime.cli.main import main
from runtime.site.config.page_settings import CredentialsError
from runtime.site.sign_in.passwords import PasswordHash, read_passwords, set_password
from tests.conftest import skip_or_fail

PASSWORD = "correct horse battery"


def test_a_password_is_known_again_and_never_written(tmp_path):
    """A hash with a salt of its own, for its owner's eyes; the second person changes no first."""
    file = tmp_path / "site.passwords"
    assert set_password(file, "ada", PASSWORD) is True
    assert set_password(file, "eve@st-anna.example", PASSWORD) is True
    assert set_password(file, "ada", PASSWORD + "!") is False
    people = read_passwords(file)
    assert people.knows("ada", PASSWORD + "!")
    assert people.knows("eve@st-anna.example", PASSWORD)
    assert not people.knows("ada", PASSWORD)
    assert not people.knows("nobody", PASSWORD)
    assert not people.knows("ada", "x" * 10_000)
    assert PASSWORD not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len({hash_.salt for hash_ in people.hashes.values()}) == 2


def test_the_hash_is_scrypts_own():
    """Against OpenSSL's answer to RFC 7914's third vector, with our costs written in."""
    vector = PasswordHash(
        salt=b"SodiumChloride",
        hash=bytes.fromhex(
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
        ),
        log2_n=14,
        r=8,
        p=1,
    )
    assert vector.matches("pleaseletmein")
    assert not vector.matches("pleaseletmeout")


@pytest.mark.parametrize(
    "line",
    ["ada", "ada:secret", "a b:$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA",
     "ada:$scrypt$ln=30,r=8,p=3$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA",
     "ada:$scrypt$ln=15,r=99,p=3$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA",
     "ada:$scrypt$ln=15,r=8,p=3$AAAA$AAAA"],
)  # fmt: skip
def test_a_damaged_line_stops_the_start_with_its_number(tmp_path, line):
    """Nothing is skipped; a cost that would take the machine's memory is refused."""
    file = tmp_path / "site.passwords"
    file.write_text(f"# people\n{line}\n")
    file.chmod(0o600)
    with pytest.raises(CredentialsError, match="line 2"):
        read_passwords(file)


def test_a_file_that_everybody_may_read_is_refused(tmp_path):
    """And one that names nobody, and one that is not there."""
    file = tmp_path / "site.passwords"
    with pytest.raises(CredentialsError, match="cannot be read"):
        read_passwords(file)
    set_password(file, "ada", PASSWORD)
    file.chmod(0o644)
    with pytest.raises(CredentialsError, match="chmod 600"):
        read_passwords(file)
    file.write_text("# nobody\n")
    file.chmod(0o600)
    with pytest.raises(CredentialsError, match="names nobody"):
        read_passwords(file)


@pytest.fixture
def somebody():
    """A user who is not us, as whom a service would run."""
    if os.geteuid() != 0:
        skip_or_fail("only root may give a file away")
    return pwd.getpwnam("nobody")


def test_what_root_writes_is_the_services(tmp_path, somebody):
    """Given away once, it stays so, and its group goes on reading it; a wrong name is told."""
    file = tmp_path / "site.passwords"
    set_password(file, "ada", PASSWORD, owner="nobody")
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (somebody.pw_uid, 0o600)
    file.chmod(0o640)
    set_password(file, "eve", PASSWORD)
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (somebody.pw_uid, 0o640)
    with pytest.raises(CredentialsError, match="no user none-such"):
        set_password(file, "ada", PASSWORD, owner="none-such")
    assert [one.name for one in tmp_path.iterdir()] == ["site.passwords"]


def test_a_file_that_the_service_may_not_read_says_whose_it_must_be(tmp_path, somebody):
    """As the service's user sees it: its name, and both ways out."""
    file = tmp_path / "site.passwords"
    set_password(file, "ada", PASSWORD)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(somebody.pw_uid)
        try:
            read_passwords(file)
        except CredentialsError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        told = answer.read()
    assert "chown nobody site.passwords" in told
    assert "--owner nobody" in told


def test_the_command_sets_refuses_and_removes(tmp_path, monkeypatch, capsys):
    """From a pipe, as scripts do: too short is 2 with the reason, and nothing is written."""
    file = tmp_path / "site.passwords"

    def run(word, *, name="ada", remove=False):
        monkeypatch.setattr("sys.stdin", io.StringIO(word + "\n"))
        options = ["--file", str(file)] + ["--remove"] * remove
        return main(["site", "password", name, *options]), capsys.readouterr()

    code, said = run("short")
    assert (code, file.exists()) == (2, False)
    assert "12 to 256" in said.err
    assert run(PASSWORD, name="a:b")[0] == 2
    assert run(PASSWORD)[0] == 0
    assert run("", name="eve", remove=True)[0] == 2
    assert run("", remove=True)[0] == 0
    assert PASSWORD not in said.out + said.err
