"""`python -m tests.torture.robustness`: each fault with the tests that play it, run, as a table."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.conftest import ROOT

E2E, RUNTIME, DOOR = "tests/end_to_end", "tests/runtime", "tests/firmware_bridge/dicom_intake"
PLAYED_BY = {
    "ledger put back from a copy, images of later in the spool": (
        f"{E2E}/test_ledger_faults.py::test_images_that_a_ledger_of_before_does_not_know_are_judged",
    ),
    "whole data folder put back from a copy": (
        f"{E2E}/test_ledger_faults.py::test_a_whole_folder_that_is_put_back_counts_under_a_new_name",
    ),
    "end of the write-ahead log lost": (
        f"{RUNTIME}/ledger/test_damage.py::test_the_end_of_the_log_that_was_lost_is_noticed",
    ),
    "twenty bytes or pages of the ledger damaged, eight seeds": (
        f"{RUNTIME}/ledger/test_damage.py::test_no_damage_between_two_lives_is_silent",
        f"{RUNTIME}/ledger/test_damage.py::test_no_damage_after_a_kill_brings_a_wrong_flag",
    ),
    "a page of the ledger damaged between two lives": (
        f"{E2E}/test_ledger_faults.py::test_a_damaged_page_is_rebuilt_at_the_start",
    ),
    "every page of the ledger damaged under a running unit": (
        f"{E2E}/test_ledger_faults.py::test_damage_while_the_unit_runs_is_said_and_takes_no_image",
    ),
    "full disk without a reserve": (
        f"{E2E}/test_ledger_faults.py::test_a_full_disk_without_a_reserve_is_said_and_passes",
    ),
    "new disk, backup put back": (
        f"{E2E}/test_backup.py::test_a_backup_is_made_while_exams_come_and_a_new_disk_goes_on_from_it",
    ),
    "spooled file changed, cut or gone": (
        f"{E2E}/test_spool_rot.py::test_a_spooled_file_that_changed_is_noticed_and_sending_again_mends_it",
    ),
    "images of two patients in one exam": (
        f"{E2E}/test_two_patients.py::test_one_view_of_another_patient_takes_the_flag",
    ),
    "control process, worker or broker killed at named points, 30 times each": (
        f"{E2E}/test_plug_pulled.py",
    ),
    "worker dies at rest; worker killed twenty times": (f"{E2E}/test_worker_killed.py",),
    "a mix of all, with an auditor from outside": (
        f"{E2E}/test_torture.py::test_a_clinic_under_faults",
    ),
    "broker killed or forgetful, clocks set, ledger lost, two units of one name": (
        f"{E2E}/test_never_stale.py",
    ),
    "broker forgot what it had retained": (
        f"{RUNTIME}/mqtt/test_broker_memory.py::test_flags_that_hold_are_put_back_after_the_broker_forgot",
    ),
    "broker away, a second address": (
        f"{RUNTIME}/mqtt/test_ways_to_the_broker.py::test_the_second_address_is_used_and_the_first_one_again",
    ),
    "bridge in MQTT 3.1.1": (
        f"{RUNTIME}/site/test_bridge.py::test_the_site_sees_a_bridge_that_takes_expiries_off",
    ),
    "words of a later version on the wire": (f"{E2E}/test_unknown_codes.py",),
    "rows lost before, between and after births": (f"{RUNTIME}/site/ingest/test_owed_rows.py",),
    "a site's service killed, frozen, stopped, without its database": (
        f"{RUNTIME}/site/service/test_takeover.py",
    ),
    "half an A-ASSOCIATE-RQ, again and again": (
        f"{DOOR}/test_dicom_limits.py::test_a_request_that_trickles_has_one_deadline",
        f"{DOOR}/test_dicom_limits.py::test_one_address_cannot_take_all_places",
    ),
    "257 HTTP requests that never end": (
        f"{RUNTIME}/web/test_http_protocol.py::test_many_unfinished_requests_keep_nobody_out",
    ),
    "wrong tokens at the console": (
        f"{RUNTIME}/console/test_gate.py::test_wrong_tokens_keep_nobody_out",
    ),
    "a unit that answers and judges nothing": (
        f"{RUNTIME}/site/alarms/test_urgent_rules.py::test_a_unit_that_cannot_judge_is_an_alarm_until_it_can",
    ),
}
LONGEST_S = 3600


def outcomes(report: Path) -> dict[str, tuple[int, int, int, float]]:
    """By test without its parameters: passed, failed, skipped, seconds; of a JUnit report."""
    found: dict[str, tuple[int, int, int, float]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest
        file = case.attrib["classname"].replace(".", "/") + ".py"
        name = f"{file}::" + case.attrib["name"].partition("[")[0]
        failed = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None
        before = found.get(name, (0, 0, 0, 0.0))
        found[name] = (
            before[0] + (not failed and not skipped),
            before[1] + failed,
            before[2] + skipped,
            before[3] + float(case.attrib["time"]),
        )
    return found


def main() -> int:
    """Runs them all, prints Markdown; 0 if every one held."""
    nodes = sorted({node for nodes in PLAYED_BY.values() for node in nodes})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *nodes],
            cwd=ROOT,
            stdout=sys.stderr,
            timeout=LONGEST_S,
            check=False,
        )
        found = outcomes(report)
    print("| fault | cases | held | skipped | s |\n|---|---|---|---|---|")
    worst = 0
    for fault, nodes in PLAYED_BY.items():
        cases = [case for name, case in found.items() if name.startswith(nodes)]
        passed, failed, skipped, seconds = (sum(column) for column in zip(*cases, strict=True))
        worst |= bool(failed or not passed)
        print(f"| {fault} | {passed + failed} | {passed} | {skipped} | {seconds:.0f} |")
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
