"""`mammoedge send DIR|FILE… --to AE@host:port`."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.dicom_network.destination import Destination, check_ae_title
from firmware_bridge.dicom_network.store_status import StoreStatus
from firmware_bridge.sender.storage_scu import (
    Outcome,
    OutgoingFile,
    PeerUnreachableError,
    SentFile,
    StorageScu,
    files_below,
    outgoing,
)
from runtime.image.header import passed_over

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

ALL_STORED, SOME_NOT, CANNOT = 0, 1, 2
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0


def run(arguments: Namespace) -> int:
    """Sends; 0 if everything was stored, 1 if something was not, 2 if it could not begin."""
    try:
        destination = Destination.parse(arguments.to)
        check_ae_title(arguments.calling)
    except ValueError as fault:
        print(f"mammoedge send: {fault}", file=sys.stderr)
        return CANNOT
    found = [outgoing(path) for path in files_below(map(Path, arguments.paths))]
    if not found:
        print("mammoedge send: no file there", file=sys.stderr)
        return CANNOT
    show = _print_json if arguments.json else _print_line
    unsendable = [item for item in found if isinstance(item, SentFile)]
    for item in unsendable:
        show(item)
    files = [item for item in found if isinstance(item, OutgoingFile)]
    try:
        stored = _send_with_retries(
            destination, files, calling=arguments.calling, retries=arguments.retries, show=show
        )
    except PeerUnreachableError as fault:
        print(f"mammoedge send: {arguments.to}: {fault.what}", file=sys.stderr)
        return CANNOT
    others = sum(item.outcome is Outcome.PASSED_OVER for item in unsendable)
    wanted = len(found) - others
    if not arguments.json:
        print(f"{stored} of {wanted} stored" + (f", {others} passed over" if others else ""))
    return ALL_STORED if stored == wanted else SOME_NOT


def _send_with_retries(
    destination: Destination,
    files: Sequence[OutgoingFile],
    *,
    calling: str,
    retries: int,
    show: Callable[[SentFile], None],
) -> int:
    """How many were stored. A file is shown once, with its last answer."""
    stored = 0
    waiting = list(files)
    for attempt in range(retries + 1):
        last = attempt == retries
        again: list[OutgoingFile] = []
        try:
            for file, sent in _send_once(destination, waiting, calling=calling):
                if _worth_another_try(sent) and not last:
                    again.append(file)
                    continue
                stored += sent.outcome is Outcome.STORED
                show(sent)
        except PeerUnreachableError:
            if last:
                raise
            again = waiting
        waiting = again
        if not waiting or last:
            break
        # Half to all of a doubling wait: senders that failed together do not come back together.
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
        time.sleep(wait_s * random.SystemRandom().uniform(0.5, 1.0))
    return stored


def _send_once(
    destination: Destination, files: Sequence[OutgoingFile], *, calling: str
) -> Iterator[tuple[OutgoingFile, SentFile]]:
    if not files:
        return
    with StorageScu(destination, files, calling_ae_title=calling) as sender:
        for number, file in enumerate(files):
            # PS3.7 E.1: Message ID is an unsigned number of 16 bits.
            yield file, sender.send(file, message_id=1 + number % 65535)


def _worth_another_try(sent: SentFile) -> bool:
    if sent.status is None:
        return sent.outcome is Outcome.FAILED
    # PS3.4 table B.2-1: A7xx, out of resources.
    return sent.status & 0xFF00 == StoreStatus.OUT_OF_RESOURCES


def _print_line(sent: SentFile) -> None:
    if sent.outcome is Outcome.PASSED_OVER:
        print(f"{passed_over(sent.comment)}  {sent.path}")
        return
    status = "" if sent.status is None else f" 0x{sent.status:04X}"
    comment = f" ({sent.comment})" if sent.comment else ""
    print(f"{sent.outcome.value:8}{status} {sent.answered_after_ms:7.0f} ms  {sent.path}{comment}")


def _print_json(sent: SentFile) -> None:
    print(
        json.dumps(
            {
                "file": str(sent.path),
                "outcome": sent.outcome.value,
                "status": None if sent.status is None else f"0x{sent.status:04X}",
                "comment": sent.comment,
                "last_byte_at_ns": sent.last_byte_at_ns,
                "ms": round(sent.answered_after_ms, 1),
            }
        ),
        flush=True,
    )
