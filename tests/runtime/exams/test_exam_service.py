"""The exam service on a real ledger: what is received ends in one outcome and one final flag."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from models.histogram import ScoreHistogram
from runtime.dicom.patient_identity import PatientFacts, PatientIdentity
from runtime.drift.settings import DriftSettings
from runtime.exam_rules.exam_flag import Completion
from runtime.exam_rules.state_machine import ExamRules
from runtime.exams.exam_parts import exam_parts
from runtime.exams.intake_ports import Receipt
from runtime.exams.registration import ActivePackage, SpooledObject
from runtime.image.outcome import Flag, ImageOutcome, JobOutcome, PixelComparison
from runtime.image.reasons import Reason
from runtime.ledger.ledger import Ledger
from runtime.publishing.message_factory import IdentityPolicy, MessageFactory
from tests.support.builders import MODEL, forget_exams, header, manifest, result, unassessed

DAY_MS = 86_400_000
ALL = ("RCC", "LCC", "RMLO", "LMLO")


class Bench:
    """The parts that change exams, their ledger, and a clock that is set by hand."""

    def __init__(
        self, folder, scope="view", rule="max_view", *, model=MODEL, policy=None, max_images=100
    ):
        self.now_ms = 1_000_000
        self.ledger = Ledger(folder / "ledger.db")
        parts = exam_parts(
            ledger=self.ledger,
            message_factory=MessageFactory(
                site="s",
                unit="u",
                boot_id="b",
                site_key=b"k" * 32,
                identity=policy or IdentityPolicy(),
            ),
            rules=ExamRules(
                expected_views=ALL, idle_timeout_ms=60_000, exam_rule=rule, max_images=max_images
            ),
            active=ActivePackage(manifest=manifest(scope, rule), model=model),
            clock_ms=lambda: self.now_ms,
        )
        self.registration, self.notices = parts.registration, parts.notices
        self.exam_service = parts.exam_service

    def receive(
        self,
        view="RCC",
        *,
        sop=None,
        sha="1",
        study="1.2.3",
        source="test",
        identity=None,
        patient=None,
        path=None,
        size_bytes=1,
        **changes,
    ):
        digits = sop or self.sop(view)
        return self.registration.receive(
            SpooledObject(
                header=header(view, sop=digits, study=study, **changes),
                sha256=sha * 64,
                path=path or f"/spool/{view}{sha}.dcm",
                size_bytes=size_bytes,
                source=source,
                peer="UNIT",
                identity=identity or PatientIdentity(),
                patient=patient or PatientFacts(),
            )
        )

    @staticmethod
    def sop(view):
        """The UID of an image that is given none."""
        return "1.2.3." + "".join(c for c in view.encode().hex() if c.isdigit())

    def next_job(self):
        return self.ledger.transact(lambda tx: tx.next_job())

    def judge_next(self, outcome):
        job = self.next_job().job
        images = tuple(ImageOutcome(image_id=i.image_id, outcome=outcome) for i in job.images)
        return self.exam_service.record(JobOutcome(job_id=job.job_id, images=images))

    def compare_next(self, *changed, same=False):
        """The next job, which is a comparison: what the worker found."""
        job = self.next_job().job
        assert job.is_comparison
        found = PixelComparison(same_pixels=same, changed=changed)
        return self.exam_service.record(JobOutcome(job_id=job.job_id, comparison=found))

    def said(self, kind=None):
        rows = self.ledger.waiting(1000)
        return [json.loads(row.payload) for row in rows if kind in (None, row.kind)]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()


def test_four_views_give_four_view_messages_and_one_final_flag(bench):
    """A four-view exam ends in one final `none`; seq has no gap."""
    for view in ALL:
        bench.receive(view)
        bench.judge_next(result(0.1))
    exams = bench.said("exam")
    assert [message["final"] for message in exams] == [False, False, False, True]
    assert exams[-1]["flag"] == "none"
    assert exams[-1]["completed_by"] == "expected_views"
    assert len(bench.said("view")) == 4
    assert [message["seq"] for message in bench.said()] == list(range(1, 9))


def test_the_same_bytes_again_are_the_same_image(bench):
    """A sender that repeats itself makes no second job, no second message."""
    first = bench.receive("RCC")
    bench.judge_next(result(0.1))
    again = bench.receive("RCC")
    assert (again.receipt, again.image_id) == (Receipt.KNOWN, first.image_id)
    assert bench.next_job() is None


def test_other_pixels_under_a_known_uid_raise_an_event_and_the_first_stands(bench):
    """A conflict is kept on record, said, and does not change the exam."""
    bench.receive("RCC", sha="1")
    bench.judge_next(result(0.9))
    conflict = bench.receive("RCC", sha="2")
    assert conflict.receipt is Receipt.CONFLICT
    bench.compare_next()
    assert bench.next_job() is None
    assert bench.said("event")[-1]["event"] == "image_conflict"
    assert len(bench.ledger.transact(lambda tx: tx.exam_images("1.2.3"))) == 1


def test_an_outcome_is_recorded_once(bench):
    """A worker's answer that comes twice (a restart in between) changes nothing."""
    bench.receive("RCC")
    job = bench.next_job().job
    outcome = JobOutcome(
        job_id=job.job_id,
        images=(ImageOutcome(image_id=job.images[0].image_id, outcome=result(0.1)),),
    )
    assert bench.exam_service.record(outcome) is not None
    assert bench.exam_service.record(outcome) is None
    assert len(bench.said("view")) == 1


def test_an_exam_without_all_views_times_out_not_assessed(bench):
    """Silence never means normal: three low views and a missing one are not `none`."""
    for view in ALL[:3]:
        bench.receive(view)
        bench.judge_next(result(0.1))
    bench.now_ms += 59_999
    assert bench.exam_service.time_out_idle() == 0
    bench.now_ms += 1
    assert bench.exam_service.time_out_idle() == 1
    last = bench.said("exam")[-1]
    assert (last["final"], last["flag"], last["completed_by"]) == (True, "not_assessed", "timeout")
    assert (last["reasons"], last["missing_views"]) == (["view_not_received"], ["lmlo"])
    assert bench.exam_service.time_out_idle() == 0


def test_a_time_out_waits_for_the_worker(bench):
    """An exam whose image is still at the worker becomes final with that image's outcome."""
    bench.receive("RCC")
    bench.now_ms += 60_000
    bench.exam_service.time_out_idle()
    assert bench.said("exam") == []
    flag = bench.judge_next(result(0.9))
    assert (flag.final, flag.flag, flag.completed_by) == (True, Flag.PRIORITY, Completion.TIMEOUT)


def test_an_image_that_takes_a_worker_down_twice_is_not_assessed(bench):
    """Poison is tried once more, then ends as processing_failed; the next image is unharmed."""
    bench.receive("RCC")
    job_id = bench.next_job().job.job_id
    assert bench.exam_service.worker_died_of(job_id, Reason.PROCESSING_FAILED) is None
    flag = bench.exam_service.worker_died_of(job_id, Reason.PROCESSING_FAILED)
    assert flag.reasons == (Reason.PROCESSING_FAILED, Reason.AWAITING_VIEWS)
    assert bench.next_job() is None


def test_a_closed_ledger_opens_again_with_everything(tmp_path):
    """What was committed is there after a restart, open jobs first."""
    bench = Bench(tmp_path)
    bench.receive("RCC")
    bench.ledger.close()
    again = Bench(tmp_path)
    assert again.next_job().job.images[0].path == "/spool/RCC1.dcm"
    again.ledger.close()


def test_scope_exam_judges_when_all_four_views_are_there(tmp_path):
    """A four-view package makes one job of the exam; each image gets the job's outcome."""
    bench = Bench(tmp_path, "exam", "direct")
    for view in ALL[:3]:
        bench.receive(view)
    assert bench.next_job() is None
    bench.receive("LMLO")
    assert {image.slot for image in bench.next_job().job.images} == set(ALL)
    flag = bench.judge_next(result(0.7))
    assert (flag.final, flag.flag, len(flag.images)) == (True, Flag.PRIORITY, 4)
    bench.ledger.close()


def test_scope_breast_judges_each_breast_and_mosaics_again(tmp_path):
    """CC and MLO of one side make a job; a second CC makes another with the same MLO."""
    bench = Bench(tmp_path, "breast")
    bench.receive("RCC")
    bench.receive("LMLO")
    assert bench.next_job() is None
    bench.receive("RMLO")
    assert {image.slot for image in bench.next_job().job.images} == {"CC", "MLO"}
    bench.judge_next(result(0.2))
    bench.receive("RCC", sop="1.2.3.99")
    assert bench.next_job() is not None
    bench.ledger.close()


def test_images_that_wait_for_companions_are_settled_at_the_time_out(tmp_path):
    """A breast of which only the CC came ends not assessed: companion_missing."""
    bench = Bench(tmp_path, "breast")
    bench.receive("RCC")
    bench.now_ms += 60_000
    bench.exam_service.time_out_idle()
    last = bench.said("exam")[-1]
    assert (last["final"], last["flag"]) == (True, "not_assessed")
    assert "companion_missing" in last["reasons"]
    assert [view["reasons"] for view in bench.said("view")] == [["companion_missing"]]
    bench.ledger.close()


def test_unsupported_views_do_not_keep_an_exam_open(bench):
    """A magnification view beside four judged ones is listed and changes nothing."""
    for view in ALL:
        bench.receive(view)
        bench.judge_next(result(0.1))
    bench.receive("RCC", sop="1.2.3.77", modifiers=("399163009",))
    flag = bench.judge_next(unassessed(Reason.UNSUPPORTED_MODIFIER))
    assert (flag.flag, flag.final, flag.revision) == (Flag.NONE, True, 5)


def test_a_new_package_is_said_and_takes_over_the_open_jobs(tmp_path):
    """Jobs that an older package left open are done by the active one; the change is an event."""
    bench = Bench(tmp_path)
    bench.exam_service.adopt_open_work()
    bench.receive("RCC")
    bench.ledger.close()
    newer = Bench(tmp_path, model=replace(MODEL, package_sha256="c" * 64))
    assert newer.exam_service.adopt_open_work() == 1
    assert newer.next_job().job.package_sha256 == "c" * 64
    events = [message["event"] for message in newer.said("event")]
    assert events == ["service_started", "service_started", "model_changed"]
    newer.ledger.close()


def test_the_units_own_word_ends_an_exam_with_views_missing(bench):
    """exam_closed after two views: final at once, by the unit's word, and the missing are named."""
    for view in ALL[:2]:
        bench.receive(view)
        bench.judge_next(result(0.1))
    flag = bench.notices.close_exam("1.2.3", Completion.EXAM_CLOSED)
    assert (flag.final, flag.completed_by) == (True, Completion.EXAM_CLOSED)
    assert flag.missing_views == ALL[2:]
    assert bench.notices.close_exam("1.2.3", Completion.MPPS) is None


def test_the_units_word_waits_for_the_worker(bench):
    """An exam that is closed while its last image is at the worker ends with that outcome."""
    bench.receive("RCC")
    assert bench.notices.close_exam("1.2.3", Completion.MPPS) is None
    flag = bench.judge_next(result(0.9))
    assert (flag.final, flag.completed_by, flag.flag) == (True, Completion.MPPS, Flag.PRIORITY)


@pytest.mark.parametrize("order", [("frames", "dicom"), ("dicom", "frames")])
def test_a_frame_and_its_object_are_twins(bench, order):
    """Both are kept, the first stands; no conflict is published, no second job made."""
    first = bench.receive(sha="1", source=order[0])
    twin = bench.receive(sha="2", source=order[1])
    assert (first.receipt, twin.receipt) == (Receipt.STORED, Receipt.TWIN)
    assert bench.receive(sha="2", source=order[1]).receipt is Receipt.KNOWN
    assert not bench.said("event")
    assert bench.ledger.transact(lambda tx: tx.jobs_open()) == 1
    assert len(bench.ledger.transact(lambda tx: tx.exam_images("1.2.3"))) == 1


@pytest.mark.parametrize("source", ["frames", "dicom"])
def test_two_of_one_source_contradict_each_other(bench, source):
    """Other bytes by the same way are no twins."""
    bench.receive(sha="1", source=source)
    assert bench.receive(sha="2", source=source).receipt is Receipt.CONFLICT
    bench.judge_next(result(0.9))
    bench.compare_next()
    assert [said["event"] for said in bench.said("event")] == ["image_conflict"]


def test_a_twin_of_another_exam_is_a_conflict(bench):
    """The same image cannot belong to two exams."""
    bench.receive(sha="1", source="frames")
    stranger = bench.receive(sha="2", source="dicom", study="1.2.9")
    assert stranger.receipt is Receipt.CONFLICT


def test_yesterdays_drift_is_published_once(bench):
    """After midnight UTC the day before is compared with the reference: one row, not two."""
    reference = ScoreHistogram(score="suspicion", counts=(5, 5), images=10)
    bench.receive("RCC")
    bench.judge_next(result(0.9))
    assert bench.exam_service.publish_drift(reference, DriftSettings()) is False
    bench.now_ms += DAY_MS
    assert bench.exam_service.publish_drift(reference, DriftSettings()) is True
    assert bench.exam_service.publish_drift(reference, DriftSettings()) is False
    (drift,) = bench.said("drift")
    assert (drift["day"], drift["images"], drift["exams"]) == ("1970-01-01", 1, 1)
    assert (drift["histogram"], drift["priority_rate"], drift["psi"]) == ([0, 1], 1.0, None)


def test_a_clock_that_was_set_back_does_not_keep_an_exam_open(bench):
    """The wait begins anew at the corrected time, not a day later."""
    bench.receive("RCC")
    bench.judge_next(result(0.1))
    bench.now_ms -= 500_000
    assert bench.exam_service.time_out_idle() == 0
    bench.now_ms += 60_000
    assert bench.exam_service.time_out_idle() == 1
    assert bench.said("exam")[-1]["final"] is True


def test_a_later_failure_takes_no_judgement_back(tmp_path):
    """A second RCC whose job fails leaves the priority of the first as it was."""
    bench = Bench(tmp_path, "exam", "direct")
    for view in ALL:
        bench.receive(view)
    assert bench.judge_next(result(0.9)).flag is Flag.PRIORITY
    bench.receive("RCC", sop="1.2.3.99")
    flag = bench.judge_next(unassessed(Reason.COMPANION_NOT_ASSESSED))
    assert (flag.flag, flag.missing_views) == (Flag.PRIORITY, ())
    bench.ledger.close()


def test_a_conflicting_copy_is_forgotten_with_the_rest(bench):
    """A copy under another Study UID belongs to no exam; its file goes when its time has come."""
    bench.receive("RCC", sha="1")
    bench.receive("RCC", sha="2", study="9.9.9")
    paths = bench.ledger.transact(lambda tx: tx.spooled_before(bench.now_ms + 1))
    assert [path for _, path in paths] == ["/spool/RCC2.dcm"]


def test_retention_forgets_old_final_exams_and_nothing_else(bench):
    """Records of a final exam go after their time; those of an open one stay."""
    for view in ALL:
        bench.receive(view)
        bench.judge_next(result(0.1))
    bench.receive("RCC", sop="7.7.7", study="7.7")
    bench.now_ms += 10 * DAY_MS
    assert bench.ledger.transact(forget_exams, bench.now_ms) == 1
    assert bench.ledger.transact(lambda tx: tx.exam_images("1.2.3")) == []
    assert len(bench.ledger.transact(lambda tx: tx.exam_images("7.7"))) == 1


@pytest.mark.parametrize("published", [False, True])
def test_the_accession_number_leaves_only_where_the_site_says_so(tmp_path, published):
    """By default no message carries it; switched on, the exam's flag does, and nothing else."""
    policy = IdentityPolicy(accession_number=published)
    bench = Bench(tmp_path, policy=policy)
    bench.receive("RCC", identity=PatientIdentity(accession_number="ACC-1"))
    bench.judge_next(result(0.1))
    (exam,) = bench.said("exam")
    assert exam.get("accession_number") == ("ACC-1" if published else None)
    assert all("ACC-1" not in json.dumps(m) for m in bench.said() if "revision" not in m)
    bench.ledger.close()
