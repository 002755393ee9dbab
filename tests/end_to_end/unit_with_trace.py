"""The real service, which writes down the files of ours that each image passes in it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from functools import wraps
from pathlib import Path
from unittest.mock import patch

from runtime.exams.spooler import Spooler
from runtime.ledger.ledger import Ledger
from runtime.unit.service import Service, configure_logging, intake_types
from runtime.unit.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(f"{ROOT / folder}/" for folder in ("runtime", "models", "firmware_bridge"))
INTAKES = OURS[2]


class Trace:
    """From an image's hand-over until nothing waits for the broker: files that were entered.

    In every thread but the main one, whose turns time alone makes due. What the intake does when
    it has its answer is no part of this image's way.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._files: set[str] = set()
        self._on = False
        self._handing_over = threading.local()

    def called(self, frame, event: str, _argument: object) -> None:
        """What `threading.setprofile` calls."""
        if not self._on or event != "call":
            return
        name = frame.f_code.co_filename
        inside = getattr(self._handing_over, "inside", False)
        if name.startswith(OURS) and (inside or not name.startswith(INTAKES)):
            self._files.add(name.removeprefix(f"{ROOT}/"))

    def around_receive(self, receive):
        """Begins with the hand-over."""

        @wraps(receive)
        def wrapped(spooler, *args, **kwargs):
            self._files, self._on = set(), True
            self._handing_over.inside = True
            try:
                return receive(spooler, *args, **kwargs)
            finally:
                self._handing_over.inside = False

        return wrapped

    def around_delivered(self, delivered):
        """Ends with the broker's acknowledgement, once that is committed."""

        @wraps(delivered)
        def wrapped(ledger, *args):
            delivered(ledger, *args)
            if self._on and not ledger.jobs_open and not ledger.backlog().waiting:
                self._on = False
                with self._record.open("a") as record:
                    record.write(json.dumps(sorted(self._files)) + "\n")

        return wrapped


def main() -> int:
    """Like `mammoedge run`, traced."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    configure_logging("INFO")
    trace = Trace(arguments.record)
    threading.setprofile(trace.called)
    with (
        patch.object(Spooler, "receive", trace.around_receive(Spooler.receive)),
        patch.object(Ledger, "delivered", trace.around_delivered(Ledger.delivered)),
    ):
        service = Service(load_settings(arguments.config, intake_types()))
        signal.signal(signal.SIGTERM, lambda *_: service.stop())
        service.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
