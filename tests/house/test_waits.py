"""No wait without a bound below `tests/` and `benches/`: read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

BOUNDED_BY_AN_ARGUMENT = {"wait", "join", "result", "acquire", "get", "wait_for_publish"}
"""Methods of events, threads, futures, locks, queues: without any argument they wait for ever."""
BOUNDED_BY_TIMEOUT = {"communicate", "urlopen", "HTTPConnection", "HTTPSConnection"}
READERS = {"readline", "read", "readlines"}
KNOWN = {
    "tests/support/waiting.py": "the place of waits",
    "tests/end_to_end/test_plug_pulled.py": "each loop asserts the deadline of the story",
    "tests/torture/__main__.py": "its loop ends with PATIENCE_S",
    "tests/torture/clinic.py": "the senders end at the clinic's deadline",
    "tests/torture/faults.py": "as long as the senders",
    "tests/end_to_end/test_sparkplug.py": "a daemon's reading; the test waits for what it read",
    "tests/end_to_end/outsiders/outsider.py": "a stranger, with nothing of ours; its reader waits",
    "benches/__main__.py": "a daemon's reading; the bench waits for what it read",
    "benches/wire.py": "the child is killed at the deadline, and every wait for it ends",
    "benches/soak.py": "the child is killed at the deadline, and every wait for it ends",
}


def unbounded(path: Path) -> Iterator[str]:
    """Line and words of each wait that nothing ends."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if waits_for_ever(node):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node).splitlines()[0]}"


def waits_for_ever(node: ast.AST) -> bool:
    """A call or a loop that only something else can end."""
    if isinstance(node, ast.For):
        return is_output(node.iter)
    if isinstance(node, ast.While):
        return any(name_of(each) == "sleep" for each in ast.walk(node))
    return isinstance(node, ast.Call) and call_waits_for_ever(node)


def call_waits_for_ever(call: ast.Call) -> bool:
    """No time-out where there may be one, or a reading of a pipe, which can have none."""
    name, keywords = name_of(call), {keyword.arg for keyword in call.keywords}
    if name in BOUNDED_BY_AN_ARGUMENT and isinstance(call.func, ast.Attribute):
        return not call.args and not keywords
    if name in BOUNDED_BY_TIMEOUT or ast.unparse(call.func) == "subprocess.run":
        return "timeout" not in keywords
    if name == "create_connection":
        return "timeout" not in keywords and len(call.args) < 2
    if name == "iter" and call.args:
        return any(is_output(each) for each in ast.walk(call.args[0]))
    return name in READERS and is_output(getattr(call.func, "value", None))


def name_of(node: ast.AST) -> str:
    """Of the function that a call names last."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_output(node: ast.AST | None) -> bool:
    """What a child prints."""
    return isinstance(node, ast.Attribute) and node.attr in {"stdout", "stderr"}


def test_every_wait_has_a_bound():
    """`tests/support/waiting.py` has them, with words; the exceptions say what ends them."""
    found = {}
    for path in sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "benches").rglob("*.py")]):
        if waits := list(unbounded(path)):
            found[str(path.relative_to(ROOT))] = waits
    assert set(found) - set(KNOWN) == set(), {name: found[name] for name in set(found) - set(KNOWN)}
    assert set(KNOWN) - set(found) == set(), "an exception that is none any more"
