"""The control process keeps few arenas, however many threads it has."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from runtime.unit.malloc_tuning import MOST_ARENAS
from tests.support.units import ROOT
from tests.support.waiting import CHILD_S

PROGRAM = """
import ctypes, sys, threading
from runtime.unit.malloc_tuning import keep_few_arenas
if sys.argv[1] == "few":
    assert keep_few_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(24)
def work():
    together.wait()
    libc.malloc(4000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(24)]
for thread in threads: thread.start()
for thread in threads: thread.join()
stream = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
"""


def arenas(how: str) -> int:
    """How many there are in a process with 24 threads that were all at it."""
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=CHILD_S
    )
    return done.stdout.count("<heap nr=")


GLIBC = platform.libc_ver()[0] == "glibc"
FRAGMENTED = """
from pathlib import Path
from runtime.unit.malloc_tuning import give_back_free_memory
def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024
kept = [bytes(6000) for _ in range(10000)][::9]
before = resident_mb()
give_back_free_memory()
print(before - resident_mb())
"""


CYCLE = """
import gc, weakref
from runtime.unit.malloc_tuning import give_back_free_memory, keep_what_stays
gc.disable()
keep_what_stays()
class Node: pass
node = Node()
node.itself, seen = node, weakref.ref(node)
del node
assert seen() is not None
give_back_free_memory()
print(gc.get_freeze_count() > 1000, seen() is None)
"""


def test_cycles_end_at_rest_and_what_stays_is_not_looked_at() -> None:
    """Garbage that only Python's own look can find is found before free memory goes back."""
    done = subprocess.run(
        [sys.executable, "-c", CYCLE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=CHILD_S,
    )
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.skipif(not GLIBC, reason="another C library gives back by itself, or never")
def test_free_memory_between_what_is_in_use_goes_back():
    """Eight of nine pieces are free, and none of them is at the end."""
    done = subprocess.run(
        [sys.executable, "-c", FRAGMENTED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=CHILD_S,
    )
    assert float(done.stdout) > 20


LARGE = """
import ctypes, sys
from runtime.unit.malloc_tuning import keep_large_blocks_apart
if sys.argv[1] == "apart":
    assert keep_large_blocks_apart()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(8_000_000))
libc.malloc(4_000_000)
class Figures(ctypes.Structure):
    _fields_ = [(n, ctypes.c_size_t) for n in "arena o s hblks hblkhd us fs uord ford keep".split()]
libc.mallinfo2.restype = Figures
print(libc.mallinfo2().hblkhd)
"""


@pytest.mark.skipif(not GLIBC, reason="another C library has no such limit")
def test_large_blocks_have_pages_of_their_own_after_the_first_has_ended():
    """Without the call the second goes into the arena, where the first was."""

    def apart_bytes(how: str) -> int:
        command = [sys.executable, "-c", LARGE, how]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=CHILD_S
        )
        return int(done.stdout)

    assert apart_bytes("apart") - apart_bytes("together") > 3_000_000


@pytest.mark.skipif(not GLIBC, reason="another C library has no arenas")
def test_threads_share_few_arenas():
    """Without the call each thread would get one, up to eight a processor."""
    assert arenas("few") <= MOST_ARENAS < arenas("many")
