"""Values of a command line: refused there, with the option's name, before any work is done."""

from __future__ import annotations

import argparse
import re

LARGEST = 10**7


def above_zero(text: str) -> float:
    """Seconds, milliseconds, millimetres: above 0, and finite."""
    value = float(text)
    if not 0 < value <= LARGEST:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def zero_or_more(text: str) -> float:
    """A rate or a time that may be none; finite."""
    value = float(text)
    if not 0 <= value <= LARGEST:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def up_to_one(text: str) -> float:
    """A scale that makes smaller, or leaves as it is."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1")
    return value


def words(text: str) -> tuple[str, ...]:
    """Words between commas; at least one."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if not found:
        raise argparse.ArgumentTypeError("must name at least one")
    return found


def count(text: str) -> int:
    """How many, where none would be nothing to do."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def share(text: str) -> float:
    """A probability, an AUC or a difference of AUC: 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be 0 to 1")
    return value


def image_type_term(text: str) -> str:
    """A value of Image Type, as `accept_image_types` of unit.toml has it."""
    if not re.fullmatch("[A-Z0-9_]{1,16}", text):
        raise argparse.ArgumentTypeError("must be 1 to 16 of A-Z, 0-9 and _")
    return text
