"""`python -m benches.wire_faults`: every fault of the wire, and what was lost by it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.support.wire_faults import FAULTS, Proof, play

COLUMNS = ("rows", "expired", "lost", "doubled_on_the_wire", "doubled")


def line_of(proof: Proof) -> str:
    """One row of the table, Markdown."""
    figures = " | ".join(str(getattr(proof, name)) for name in COLUMNS)
    equal = "yes" if proof.holds else "NO"
    return f"| {proof.fault} | {figures} | {equal} | {proof.remark} |"


def main() -> int:
    """Prints the table; 1 if a fault ended with anything lost, doubled or stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], help="only these")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    if not arguments.json:
        print("| fault | rows | expired | lost | doubled on the wire | doubled | equal | remark |")
        print("|---|---|---|---|---|---|---|---|")
    worst = 0
    with tempfile.TemporaryDirectory(prefix="wire-faults-") as folder:
        for name in arguments.faults or FAULTS:
            started_s = time.monotonic()
            proof = play(name, Path(folder) / name)
            took_s = round(time.monotonic() - started_s, 1)
            worst = max(worst, int(not proof.holds))
            said = asdict(proof) | {"holds": proof.holds, "seconds": took_s}
            print(json.dumps(said) if arguments.json else line_of(proof), flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
