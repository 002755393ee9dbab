"""The spool: a complete file becomes a durable image, or nothing of it stays."""

from __future__ import annotations

import shutil

import pytest

from runtime.dicom.patient_identity import IdentityField
from runtime.exams.event_reporter import EventReporter
from runtime.exams.intake_ports import ObjectRefusedError, OutOfRoomError, Receipt, Received
from runtime.exams.registration import SpooledObject
from runtime.exams.spooler import Spooler, SpoolLimits
from runtime.image.reasons import Reason
from runtime.ledger.ledger import Ledger, LedgerError
from runtime.messages.payloads import EventKind
from tests.support.synthetic import mammogram_dataset, write
from tests.support.unit_under_test import MESSAGE_FACTORY, now_ms


class FakeRegistration:
    """Remembers what it was told, or fails as a full disk would."""

    def __init__(self, folder, jobs_open):
        self.folder = folder
        self.jobs_open = jobs_open
        self.received: list[SpooledObject] = []
        self.receipt = Receipt.STORED
        self.instead_of = ""
        self.broken = False
        self.ledger_fault = None

    def receive(self, spooled):
        if self.broken:
            raise LedgerError(self.folder / "ledger.db", "database or disk is full")
        self.received.append(spooled)
        return Received(image_id=1, receipt=self.receipt, instead_of=self.instead_of)


class Bench:
    """A spooler with fakes behind it: it is worker and reporter itself."""

    def __init__(self, folder, *, reserve_bytes=0, waiting=0, shown=(), events=None):
        self.registration = FakeRegistration(folder, waiting)
        self.events: list[tuple[EventKind, str]] = []
        self.hints: list[tuple[str, str]] = []
        self.spooler = Spooler(
            folder=folder,
            limits=SpoolLimits(
                reserve_bytes=reserve_bytes, max_waiting_images=10, max_object_bytes=1 << 30
            ),
            registration=self.registration,
            worker=self,
            events=events or self,
            shown=shown,
        )

    def anticipate(self, path, sop_instance_uid):
        self.hints.append((path, sop_instance_uid))

    def wake(self):
        """No job is done here."""

    def publish(self, kind, detail):
        self.events.append((kind, detail))

    publish_refusal = publish

    def arrive(self, ds, name="a.dcm"):
        path = self.spooler.incoming / name
        write(ds, path)
        return path

    def spooled(self):
        return list((self.spooler.incoming.parent / "spool").iterdir())


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_an_image_is_spooled_and_made_known(bench):
    """The file moves to the spool, its bytes hashed; the worker got the hint before the row."""
    path = bench.arrive(mammogram_dataset(rows=64, columns=48))
    assert bench.spooler.receive(path, source="test", peer="UNIT").receipt is Receipt.STORED
    (spooled,) = bench.spooled()
    (arrived,) = bench.registration.received
    assert arrived.path == str(spooled)
    assert bench.hints == [(arrived.path, arrived.header.sop_instance_uid)]
    assert len(arrived.sha256) == 64
    assert not path.exists()


def test_a_known_image_leaves_no_second_file(bench):
    """The same bytes again: answered with success, the copy is removed."""
    bench.registration.receipt = Receipt.KNOWN
    bench.spooler.receive(bench.arrive(mammogram_dataset(rows=64, columns=48)), source="t", peer="")
    assert bench.spooled() == []


def test_what_is_left_of_a_damaged_file_goes_when_the_image_came_again(bench):
    """The new file stays; the old one and the picture beside it do not."""
    spool = bench.spooler.incoming.parent / "spool"
    for name in ("old.dcm", "old.preview.jpg"):
        (spool / name).write_bytes(b"rotten")
    bench.registration.instead_of = str(spool / "old.dcm")
    bench.spooler.receive(bench.arrive(mammogram_dataset(rows=64, columns=48)), source="t", peer="")
    (arrived,) = bench.registration.received
    assert [str(path) for path in bench.spooled()] == [arrived.path]


def test_a_ledger_that_cannot_commit_refuses_the_image(bench):
    """A full disk under the ledger: out of room, nothing left behind, no success."""
    bench.registration.broken = True
    path = bench.arrive(mammogram_dataset(rows=64, columns=48))
    with pytest.raises(OutOfRoomError):
        bench.spooler.receive(path, source="test", peer="")
    assert bench.spooled() == []
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", Reason.UNREADABLE), (b"x" * 4096, Reason.UNREADABLE)],
    ids=["empty", "no DICOM"],
)
def test_what_cannot_be_read_is_refused_with_an_event(bench, content, reason):
    """The sender hears no, the site hears of it, nothing is kept."""
    path = bench.spooler.incoming / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(ObjectRefusedError) as caught:
        bench.spooler.receive(path, source="test", peer="")
    assert caught.value.reason is reason
    assert [kind for kind, _ in bench.events] == [EventKind.IMAGE_REFUSED]
    assert not path.exists()
    assert bench.spooled() == []


def test_no_room_on_disk_or_in_the_queue_refuses(tmp_path):
    """Below the reserve, or with too many images waiting, an image is not taken."""
    total = shutil.disk_usage(tmp_path).total
    for number, limits in enumerate(({"reserve_bytes": total}, {"waiting": 10})):
        bench = Bench(tmp_path / str(number), **limits)
        with pytest.raises(OutOfRoomError):
            bench.spooler.check_room()


def test_a_ledger_that_cannot_be_relied_on_takes_no_image(bench):
    """What could still be committed might never become a flag: the sender keeps it."""
    bench.registration.ledger_fault = LedgerError(bench.spooler.incoming, "malformed")
    with pytest.raises(OutOfRoomError, match="malformed"):
        bench.spooler.check_room()


def test_files_that_no_row_knows_are_found_at_the_start(bench):
    """Those that are known stay, with their artefacts; what was still arriving goes."""
    spool = bench.spooler.incoming.parent / "spool"
    for name in ("known.dcm", "known.evidence.npy", "orphan.dcm"):
        (spool / name).write_bytes(b"x")
    (spool / "lost+found").mkdir()  # of a file system whose root the spool is
    (bench.spooler.incoming / "half.dcm").write_bytes(b"x")
    assert bench.spooler.unregistered({str(spool / "known.dcm")}) == [spool / "orphan.dcm"]
    assert len(bench.spooled()) == 4
    assert not list(bench.spooler.incoming.iterdir())


def test_a_file_without_a_row_is_taken_in_again(bench):
    """It may have been answered with success before the ledger went back: it is an image."""
    path = bench.spooler.incoming.parent / "spool" / "answered.dcm"
    ds = mammogram_dataset(rows=64, columns=48)
    ds.PatientID = "pid-jane"
    write(ds, path)
    assert bench.spooler.take_in_again(path)
    (taken,) = bench.registration.received
    assert (taken.path, taken.source) == (str(path), "recovered")
    assert taken.patient.patient_id == "pid-jane"
    assert path.exists()
    assert not bench.spooler.files_set_aside


def test_a_file_whose_row_came_back_meanwhile_goes(bench):
    """The sender was quicker: the same bytes are known, the second file is not needed."""
    path = bench.spooler.incoming.parent / "spool" / "answered.dcm"
    write(mammogram_dataset(rows=64, columns=48), path)
    bench.registration.receipt = Receipt.KNOWN
    assert bench.spooler.take_in_again(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["gone.preview.jpg", "gone.evidence.npy"])
def test_a_picture_of_an_image_that_is_gone_goes_too(bench, name):
    """No start asks for it again. Beside its image it stays, whatever becomes of that."""
    spool = bench.spooler.incoming.parent / "spool"
    for path in (spool / name, spool / name.replace("gone", "here"), spool / "here.dcm"):
        path.write_bytes(b"x")
    for path in bench.spooler.unregistered(set()):
        if path.suffix != ".dcm":
            assert bench.spooler.take_in_again(path)
    assert {path.name for path in bench.spooled()} == {name.replace("gone", "here"), "here.dcm"}


def test_set_aside_by_what_is_in_its_place_a_file_stays_where_it_is(bench):
    """Whoever cannot be moved is not lost."""
    folder = bench.spooler.incoming.parent
    (folder / "set-aside").write_bytes(b"a file where the folder should be")
    path = folder / "spool" / "torn.dcm"
    path.write_bytes(b"half of a picture")
    with pytest.raises(OSError, match="set-aside"):
        bench.spooler.take_in_again(path)
    assert path.read_bytes() == b"half of a picture"


@pytest.mark.parametrize("name", ["torn.dcm", "something.else"])
def test_what_cannot_be_taken_in_is_set_aside_and_never_deleted(bench, name):
    """A person looks at it; the unit says that it is there until the folder is empty."""
    path = bench.spooler.incoming.parent / "spool" / name
    path.write_bytes(b"half of a picture")
    assert not bench.spooler.take_in_again(path)
    kept = bench.spooler.incoming.parent / "set-aside" / name
    assert kept.read_bytes() == b"half of a picture"
    assert bench.spooler.files_set_aside
    kept.unlink()
    assert not bench.spooler.files_set_aside


def test_a_ledger_that_fails_loses_no_file_without_a_row(bench):
    """It is tried again; nothing is moved or removed meanwhile."""
    path = bench.spooler.incoming.parent / "spool" / "answered.dcm"
    write(mammogram_dataset(rows=64, columns=48), path)
    bench.registration.broken = True
    with pytest.raises(LedgerError):
        bench.spooler.take_in_again(path)
    assert path.exists()


def test_the_hash_is_that_of_the_data_set(bench):
    """The same image through two doors has two file meta groups, and is one image all the same."""
    ds = mammogram_dataset(rows=64, columns=48)
    bench.spooler.receive(bench.arrive(ds), source="dicom", peer="")
    ds.file_meta.ImplementationVersionName = "ANOTHER DOOR"
    bench.spooler.receive(bench.arrive(ds, "b.dcm"), source="folder", peer="")
    first, second = bench.registration.received
    assert first.sha256 == second.sha256


def test_an_intake_that_hashes_itself_gets_no_hint(bench):
    """Both cores are busy with its image; the hash is taken at its word."""
    path = bench.arrive(mammogram_dataset(rows=64, columns=48))
    bench.spooler.receive(path, source="t", peer="", sha256=lambda: "ab" * 32)
    assert bench.hints == []
    assert bench.registration.received[0].sha256 == "ab" * 32


def test_a_hash_that_fails_leaves_nothing(bench):
    """Whatever went wrong beside it: no file stays that no row knows."""

    def broken():
        raise RuntimeError("a defect")

    path = bench.arrive(mammogram_dataset(rows=64, columns=48))
    with pytest.raises(RuntimeError, match="a defect"):
        bench.spooler.receive(path, source="t", peer="", sha256=broken)
    assert bench.spooled() == []


def test_what_a_site_shows_of_an_identity_is_read_with_the_header(tmp_path):
    """In the same pass; and without it nothing is."""
    ds = mammogram_dataset(rows=64, columns=48)
    ds.AccessionNumber = "ACC-1"
    for shown, kept in (((IdentityField.ACCESSION_NUMBER,), "ACC-1"), ((), "")):
        bench = Bench(tmp_path / str(len(shown)), shown=shown)
        bench.spooler.receive(bench.arrive(ds), source="t", peer="")
        assert bench.registration.received[0].identity.accession_number == kept


def test_refusals_do_not_flood_the_outbox(tmp_path):
    """A hundred refused files make a few events, not a hundred."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        events = EventReporter(ledger=ledger, message_factory=MESSAGE_FACTORY, clock_ms=now_ms)
        bench = Bench(tmp_path, events=events)
        for number in range(100):
            path = bench.spooler.incoming / f"{number}.dcm"
            path.write_bytes(b"no DICOM")
            with pytest.raises(ObjectRefusedError):
                bench.spooler.receive(path, source="t", peer="")
        assert 1 <= ledger.last_seq() <= 30
