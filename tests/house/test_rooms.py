"""The rooms as the source has them: how large, how small, what they say of themselves, names."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.conftest import ROOT

FOLDERS = ("models", "runtime", "firmware_bridge", "converters", "benches")
MOST_MODULES = 14
LEAST_LINES = 20
ENTRIES = {"__init__.py", "__main__.py"}
SAY_NOTHING = {"utils", "common", "helpers", "base", "misc"}
DATA_ONLY = {"runtime/site/integrations", "converters/recipes", "firmware_bridge/client"}
"""Folders that are shipped and not imported."""
SMALL = {
    "models/frozen.py": "the base of every type of the contract",
    "models/signature.py": "the one use of cryptography in models",
    "runtime/drift/settings.py": "a section of unit.toml",
    "runtime/exam_rules/stored_object.py": "shared by rules and tables, which must not meet",
    "runtime/image/prediction.py": "the shape of an engine's answer; its reading is elsewhere",
    "runtime/mqtt/command_gate.py": "a limit that outlives the sessions it is given to",
    "runtime/site/config/reference.py": "which types make the page; the page is printed elsewhere",
    "runtime/site/live_model/memory_limits.py": "one look at what a site may hold",
    "runtime/site/queries/alarm_entries.py": "one question to the store",
    "runtime/site/queries/drift_indexes.py": "one question to the store",
    "runtime/site/subscriber/arrival.py": "what everyone below the subscriber knows of it",
    "runtime/sparkplug/settings.py": "a section of unit.toml",
    "runtime/system/library_telemetry.py": "one thing of libraries, before they are imported",
    "runtime/system/process_memory.py": "one thing of the operating system",
    "runtime/system/process_secrecy.py": "one thing of the operating system",
    "runtime/system/secret_file.py": "one thing of the operating system",
    "runtime/timing/backoff.py": "one rule of timing, used by rooms that share nothing else",
    "runtime/timing/token_bucket.py": "one rule of timing, used by rooms that share nothing else",
    "runtime/unit/idle_detector.py": "when a unit is idle; malloc_tuning acts on it",
    "runtime/web/languages.py": "which languages both pages speak",
    "firmware_bridge/dicom_network/association_end.py": "the end of every association of ours",
    "firmware_bridge/dicom_network/association_limits.py": "the limits of every peer",
    "firmware_bridge/simulator/transport.py": "what DICOM and the frame socket have in common",
    "firmware_bridge/frame_protocol/json_schema.py": "the contract as a document",
    "converters/commands/keygen.py": "one command, one file",
    "converters/errors.py": "below everything at the bench that raises it",
    "converters/importing/graph_run.py": "how a graph is run for comparison",
    "converters/importing/ir_files.py": "one kind of file",
    "converters/importing/layers.py": "words of a graph that importing and quantization share",
    "converters/labelled/reading_options.py": "options that four commands share",
    "converters/packaging/report_sections.py": "sections that evaluation and packaging write",
    "converters/progress.py": "below everything at the bench that takes long",
    "converters/quantization/descriptor_summary.py": "one summary",
    "converters/training/data/split.py": "which patient is in which part: must never change",
    "converters/training/networks/averaging.py": "one rule of learning",
}
TELEMETRY_OFF = [
    "from runtime.system.library_telemetry import switch_off_telemetry",
    "switch_off_telemetry()",
]
SWITCHES = dict.fromkeys(("runtime/inference", "converters", "benches"), TELEMETRY_OFF)
"""Homes of libraries that report to their makers: nothing of them may be imported before."""
FRAME_SOCKET = "the frame socket's contract has its own types: it may not move with another's"
BENCH = "a bench is its own program, and nothing imports it"
SAME_NAME = {
    "Laterality": FRAME_SOCKET,
    "Part": FRAME_SOCKET,
    "View": FRAME_SOCKET,
    "Listener": BENCH,
    "Row": BENCH,
    "Sample": BENCH,
}
"""Classes of one name in several modules, and why."""


def folders() -> list[Path]:
    """Every folder with code."""
    found = {path.parent for top in FOLDERS for path in (ROOT / top).rglob("*.py")}
    return sorted(folder for folder in found if str(folder.relative_to(ROOT)) not in DATA_ONLY)


def modules() -> list[Path]:
    """Every file of code, in our order."""
    return sorted(path for folder in folders() for path in folder.glob("*.py"))


def code_lines(path: Path) -> int:
    """Lines that are neither empty nor comment nor docstring (of an attribute, too)."""
    text = path.read_text()
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            told |= set(range(node.lineno, node.end_lineno + 1))
    lines = [line.strip() for line in text.splitlines()]
    return sum(
        1
        for number, line in enumerate(lines, start=1)
        if line and not line.startswith("#") and number not in told
    )


def test_no_room_is_larger_than_one_can_hold_in_mind():
    """Fourteen modules."""
    sizes = {
        str(folder.relative_to(ROOT)): sum(
            1 for path in folder.glob("*.py") if path.name not in ENTRIES
        )
        for folder in folders()
    }
    assert {name: size for name, size in sizes.items() if size > MOST_MODULES} == {}


def test_runtime_itself_is_rooms_and_nothing_else():
    """`runtime/*.py` is the docstring of the whole."""
    assert [path.name for path in (ROOT / "runtime").glob("*.py")] == ["__init__.py"]


def test_a_tiny_module_has_a_reason():
    """Fewer than 20 lines of code belong to a neighbour, unless the table says why not."""
    tiny = {
        str(path.relative_to(ROOT))
        for path in modules()
        if path.name not in ENTRIES and code_lines(path) < LEAST_LINES
    }
    assert tiny - set(SMALL) == set(), "too small, and nobody says why"
    assert set(SMALL) - tiny == set(), "an exception that is none any more"


def test_every_room_says_what_it_is_for_and_what_it_may_know():
    """Two sentences at least, and no code but the switch that libraries must find before."""
    silent = {}
    for folder in folders():
        path = folder / "__init__.py"
        tree = ast.parse(path.read_text()) if path.exists() else None
        told = (ast.get_docstring(tree) or "") if tree else ""
        sentences = [part for part in told.replace("\n", " ").split(". ") if part.strip(" .")]
        name = str(folder.relative_to(ROOT))
        code = [ast.unparse(node) for node in tree.body[1:]] if tree else []
        if tree is None or code != SWITCHES.get(name, []) or len(sentences) < 2:
            silent[name] = told
    assert silent == {}


def test_no_name_says_nothing():
    """What is called utils has no reason to be one file."""
    names = {path.stem for path in modules()} | {folder.name for folder in folders()}
    assert names & SAY_NOTHING == set()


def test_no_two_classes_share_a_name():
    """Who reads it is right about what it is."""
    homes = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(ROOT)))
    doubled = {name: found for name, found in homes.items() if len(found) > 1}
    assert {name: doubled[name] for name in set(doubled) - set(SAME_NAME)} == {}
    assert set(SAME_NAME) - set(doubled) == set(), "an exception that is none any more"
