"""A small clinic under a mix of faults: nothing lost, doubled, wrong or silent (`make torture`)."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT, skip_or_fail
from tests.support.brokers import mosquitto_missing
from tests.support.subscriber import Record
from tests.torture.__main__ import torture
from tests.torture.auditor import Auditor, SentExam
from tests.torture.faults import FAULTS
from tests.torture.robustness import PLAYED_BY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EXAMS = 20


def test_a_clinic_under_faults(tmp_path, capsys):
    """Every image that was answered with Success ends in the flag that is right, once."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    result = torture(tmp_path, exams=EXAMS, seed=1)
    with capsys.disabled():
        print(f"\n{result}")
    assert result["holds"], result
    assert result["exams"] >= EXAMS
    assert result["faults"].keys() >= FAULTS.keys()


def test_the_table_of_faults_names_tests_that_are_there():
    """`python -m tests.torture.robustness` runs them."""
    for nodes in PLAYED_BY.values():
        for node in nodes:
            file, _, name = node.partition("::")
            assert f"def {name}" in (ROOT / file).read_text(), node


STATUS = b'{"boot_id": "b", "ledger_id": "l"}'
VIEW = b'{"boot_id": "b", "seq": 1, "image_key": "i"}'
FLAG = b'{"boot_id": "b", "seq": 2, "exam_key": "e", "revision": 1, "final": true, "flag": "none"}'


def heard(*said: tuple[str, bytes]) -> list[Record]:
    """Records as a subscriber keeps them."""
    return [
        Record(topic, payload, qos=1, retain=False, properties={}, at_s=0.0)
        for topic, payload in said
    ]


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([("status", STATUS), ("exam/e/view/rcc", VIEW), ("exam/e", FLAG)], ""),
        ([("status", STATUS), ("exam/e/view/rcc", VIEW)], "lost"),
        ([("status", STATUS), ("exam/e", FLAG.replace(b'"seq": 2', b'"seq": 1'))], "silent"),
        (
            [
                ("status", STATUS),
                ("exam/e/view/rcc", VIEW),
                ("exam/e", FLAG.replace(b"none", b"priority")),
            ],
            "wrong",
        ),
        (
            [
                ("status", STATUS),
                ("exam/e/view/rcc", VIEW),
                ("exam/e", FLAG),
                ("exam/e", FLAG.replace(b'"seq": 2', b'"seq": 3')),
            ],
            "doubled",
        ),
        (
            [
                ("status", STATUS),
                ("exam/e/view/rcc", VIEW),
                ("exam/e", FLAG.replace(b'"seq": 2', b'"seq": 4')),
            ],
            "missing",
        ),
    ],
)
def test_the_auditor_finds_what_is_wrong(records, fault):
    """Each kind by a story that has it, and none in one that has not."""
    auditor = Auditor(exam_key=lambda _uid: "e", image_key=lambda _uid: "i")
    sent = [SentExam(study_uid="1.2", flag="none", answered=frozenset({"1.2.3"}))]
    verdict = auditor.judge(sent, heard(*records))
    assert verdict.holds == (fault == "")
    found = {n for n in ("lost", "doubled", "wrong", "silent", "missing") if getattr(verdict, n)}
    assert found == ({fault} if fault else set())
