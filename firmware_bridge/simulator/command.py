"""`mammoedge simulate-unit --to AE@host:port|frames:socket`: n units at a clinic's pace."""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.uid import generate_uid

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.transport_security import TlsSettings
from firmware_bridge.sender.storage_scu import files_below
from firmware_bridge.simulated_exams.exam_source import (
    folder_templates,
    phantom_templates,
)
from firmware_bridge.simulated_exams.unit_plan import Rates, plan_exams
from firmware_bridge.simulated_exams.vendor_shapes import VENDOR_SHAPES
from firmware_bridge.simulator.dicom_transport import DicomTransport
from firmware_bridge.simulator.frame_transport import FrameTransport
from firmware_bridge.simulator.progress import Drawing, Pace, Progress
from firmware_bridge.simulator.unit_simulator import SimulatedUnit, SimulationCount, Surroundings

if TYPE_CHECKING:
    import ssl
    from argparse import Namespace
    from collections.abc import Callable

    from firmware_bridge.simulated_exams.exam_source import Template
    from firmware_bridge.simulator.transport import Transport
    from firmware_bridge.simulator.unit_simulator import PlayedExam

FRAMES = "frames:"
"""Before the path of a frame socket, as the service names it in its log."""
ALL_STORED, SOME_NOT, CANNOT = 0, 1, 2
NOTICE = "Simulated: for plumbing, load and quality control. No patient, no finding, not for care."


def run(arguments: Namespace) -> int:
    """Plays; 0 if every image was stored, 1 if one was refused or lost, 2 if it cannot begin."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    with tempfile.TemporaryDirectory(prefix="mammoedge-unit-") as folder:
        pace = Pace(
            units=arguments.units,
            exams=arguments.exams,
            exams_per_hour=arguments.exams_per_hour,
        )
        try:
            around = Surroundings(
                line=_line(arguments, Path(folder)),
                templates=_templates(arguments, Path(folder)),
                folder=Path(folder),
                now=lambda: datetime.now().astimezone(),
                new_uid=new_uid,
                pause=stop.wait,
            )
        except (ValueError, OSError) as fault:
            print(f"mammoedge simulate-unit: {fault}", file=sys.stderr)
            return CANNOT
        _tell(NOTICE)
        _tell(pace.announcement())
        started_s = time.monotonic()
        progress = Progress(pace, say=_tell, clock_s=time.monotonic)
        total = play(
            replace(around, answered=progress.image),
            arguments,
            pace,
            show=_printer(progress, as_json=arguments.json),
        )
        _summary(total, time.monotonic() - started_s, as_json=arguments.json)
    return SOME_NOT if total[SimulationCount.REFUSED] or total[SimulationCount.LOST] else ALL_STORED


def play(
    around: Surroundings, arguments: Namespace, pace: Pace, *, show: Callable[[PlayedExam], None]
) -> Counter[SimulationCount]:
    """All units at once, each in a thread; what happened in all."""
    rates = Rates(
        retake=arguments.retakes,
        magnification=arguments.magnifications,
        implant=arguments.implants,
        fault=arguments.faults,
        reboot=arguments.reboots,
    )
    views = [tuple(template.files) for template in around.templates]
    total: Counter[SimulationCount] = Counter()
    lock = threading.Lock()

    def one(unit: int) -> None:
        # Units of one seed differ, and stay the same however many there are.
        randomness = random.Random(f"{arguments.seed}/{unit}")  # noqa: S311 - repeatable, not secret
        plan = plan_exams(unit, arguments.exams, views, rates, randomness)
        simulated = SimulatedUnit(unit, around)
        for exam in simulated.play(plan, pace.exam_s):
            with lock:
                total.update(exam.happened)
                show(exam)
        wait_s = 0.0 if around.pause(0) else arguments.wait_flags
        if wait_s and arguments.to.startswith(FRAMES):
            _tell(f"unit {unit}: waits up to {wait_s:.0f} s for its flags")
        flags = simulated.finish(wait_s)
        with lock:
            total.update(flags)

    with ThreadPoolExecutor(arguments.units) as pool:
        for done in [pool.submit(one, unit) for unit in range(1, arguments.units + 1)]:
            done.result()
    return total


def new_uid() -> str:
    """A UID that nobody else has."""
    return str(generate_uid())


def _line(arguments: Namespace, folder: Path) -> Callable[[str], Transport]:
    """From a unit's name to its line. Raises ValueError, OSError: what was asked makes no line."""
    steps = not arguments.no_mpps
    if arguments.to.startswith(FRAMES):
        socket = Path(arguments.to.removeprefix(FRAMES))
        if not socket.is_socket():
            raise ValueError(f"no socket at {socket}: is [intake.frames] on, the service running?")
        return lambda name: FrameTransport(name, socket=socket, closes_exams=steps)
    destination, tls = Destination.parse(arguments.to), _tls(arguments)
    return lambda name: DicomTransport(
        name,
        destination=destination,
        folder=folder,
        procedure_steps=steps,
        tls=tls,
        new_uid=new_uid,
    )


def _templates(arguments: Namespace, folder: Path) -> list[Template]:
    if arguments.exams_from:
        return folder_templates(list(files_below([Path(arguments.exams_from)])))
    names = arguments.vendors or list(VENDOR_SHAPES)
    unknown = [name for name in names if name not in VENDOR_SHAPES]
    if unknown:
        raise ValueError(f"no such vendor shape: {', '.join(unknown)}")
    _tell(f"drawing phantoms: {', '.join(names)}")
    return phantom_templates(
        folder,
        [VENDOR_SHAPES[name] for name in names],
        scale=arguments.scale,
        randomness=random.Random(arguments.seed),  # noqa: S311 - repeatable, not secret
        drawn=Drawing(say=_tell, clock_s=time.monotonic).drawn,
    )


def _tls(arguments: Namespace) -> ssl.SSLContext | None:
    given = (arguments.certificate, arguments.key, arguments.ca)
    if not any(given):
        return None
    if not all(given):
        raise ValueError("--certificate, --key and --ca go together")
    settings = TlsSettings(
        certificate_file=Path(arguments.certificate),
        key_file=Path(arguments.key),
        ca_file=Path(arguments.ca),
    )
    return settings.client_context()


def _tell(line: str) -> None:
    """To whoever waits; standard output is for what was played."""
    print(line, file=sys.stderr, flush=True)


def _printer(progress: Progress, *, as_json: bool) -> Callable[[PlayedExam], None]:
    def show(exam: PlayedExam) -> None:
        progress.exam()
        counted = {happening.value: count for happening, count in exam.happened.items()}
        if as_json:
            said = {
                "unit": exam.unit,
                "exam": exam.number,
                "study_instance_uid": exam.study_instance_uid,
                "sop_instance_uids": exam.images,
            }
            print(json.dumps(said | counted), flush=True)
            return
        happened = ", ".join(f"{name} {count}" for name, count in counted.items())
        print(f"unit {exam.unit}  exam {exam.number + 1:5}  {happened}", flush=True)

    return show


def _summary(total: Counter[SimulationCount], seconds: float, *, as_json: bool) -> None:
    counted = {happening.value: total[happening] for happening in SimulationCount}
    if as_json:
        print(json.dumps({"total": counted, "seconds": round(seconds, 1)}), flush=True)
        return
    print(f"{seconds:.0f} s: " + ", ".join(f"{name} {count}" for name, count in counted.items()))
