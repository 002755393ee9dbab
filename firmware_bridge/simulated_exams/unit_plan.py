"""What happens at a simulated unit: exams, retakes, special views, mishaps. Pure and seeded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random


class Mishap(StrEnum):
    """What can go wrong in the middle of an exam."""

    NONE = "none"
    FAULT = "fault"
    """The association breaks inside an object; the unit sends it again."""
    REBOOT = "reboot"
    """The unit is gone for a while, then goes on with the exam."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often something happens, 0-1: retake, magnification for each view, the rest per exam."""

    retake: float = 0.03
    magnification: float = 0.02
    implant: float = 0.02
    fault: float = 0.02
    reboot: float = 0.005


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One exposure."""

    number: int
    """Within the exam, from 1."""
    view: str
    implant: bool = False
    magnification: bool = False
    rejected: bool = False
    """The technologist rejects it; the next shot is its retake."""
    mishap: Mishap = Mishap.NONE


@dataclass(frozen=True, kw_only=True)
class ExamPlan:
    """One exam of a unit."""

    unit: int
    number: int
    template: int
    shots: tuple[Shot, ...]


def plan_exams(
    unit: int, count: int, views: Sequence[Sequence[str]], rates: Rates, randomness: Random
) -> Iterator[ExamPlan]:
    """The exams of one unit, in order. The same randomness gives the same exams.

    Args:
        unit: its number.
        count: how many exams.
        views: the views of each template.
        rates: of what is out of the ordinary.
        randomness: seeded.
    """
    for number in range(count):
        template = randomness.randrange(len(views))
        implant = randomness.random() < rates.implant
        mishap = Mishap.NONE
        drawn = randomness.random()
        if drawn < rates.fault:
            mishap = Mishap.FAULT
        elif drawn < rates.fault + rates.reboot:
            mishap = Mishap.REBOOT
        at = randomness.randrange(len(views[template]))
        shots: list[Shot] = []
        for index, view in enumerate(views[template]):
            here = mishap if index == at else Mishap.NONE
            if randomness.random() < rates.retake:
                shots.append(Shot(number=len(shots) + 1, rejected=True, view=view, implant=implant))
            shots.append(Shot(number=len(shots) + 1, mishap=here, view=view, implant=implant))
            if randomness.random() < rates.magnification:
                shots.append(
                    Shot(number=len(shots) + 1, magnification=True, view=view, implant=implant)
                )
        yield ExamPlan(unit=unit, number=number, template=template, shots=tuple(shots))
