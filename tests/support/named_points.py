"""Named points on an image's way through a unit's control process, told as it passes them.

"spooled", "received", "claimed", "judged", "recorded", "published", "acknowledged": the unit
knows nothing of them. The parts' own methods are wrapped, from outside.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING
from unittest.mock import patch

from runtime.exams.exam_service import ExamService
from runtime.exams.registration import ImageRegistration
from runtime.ledger.outbox import OutboxRow
from runtime.mqtt.in_flight import InFlightMessages
from runtime.mqtt.outbox_delivery import OutboxDelivery
from runtime.worker.protocol import JudgeJob, WorkerLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _around(
    method: Callable,
    reached: Callable[[str], None],
    *,
    before: str | None = None,
    after: str | None = None,
    of: Callable[..., bool] = lambda *_arguments: True,
) -> Callable:
    """The method, which tells `before` and `after` it; only with arguments that are `of`."""

    @wraps(method)
    def wrapped(self, *args, **kwargs):
        told = of(*args)
        if told and before is not None:
            reached(before)
        result = method(self, *args, **kwargs)
        if told and after is not None:
            reached(after)
        return result

    return wrapped


@contextmanager
def named_points(reached: Callable[[str], None]) -> Iterator[None]:
    """`reached` is called at each point, by whichever thread passes it."""
    points = (
        (ImageRegistration, "receive", {"before": "spooled", "after": "received"}),
        (WorkerLink, "ask", {"before": "claimed", "of": lambda r, *_: isinstance(r, JudgeJob)}),
        (ExamService, "record", {"before": "judged", "after": "recorded"}),
        (
            InFlightMessages,
            "add",
            {"after": "published", "of": lambda _mid, sent: isinstance(sent, OutboxRow)},
        ),
        (OutboxDelivery, "acknowledged", {"before": "acknowledged"}),
    )
    with ExitStack() as stack:
        for part, name, told in points:
            method = _around(getattr(part, name), reached, **told)
            stack.enter_context(patch.object(part, name, method))
        yield
