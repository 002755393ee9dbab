"""What can be said of a DICOM listener from the outside, without sending it an image."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.uid import UID
from pynetdicom import AE, build_context, evt

from firmware_bridge.dicom_network.association_end import end_association
from firmware_bridge.dicom_network.reactor_pause import pause_surely
from firmware_bridge.dicom_network.transfer_syntaxes import (
    KEY_OBJECT_SELECTION,
    PROCEDURE_STEP,
    STORAGE_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
)
from runtime.cli.check_result import CheckResult, Grade

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from firmware_bridge.dicom_network.destination import Destination

CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class PortExamination:
    """Of one listener, as one caller."""

    destination: Destination
    calling: str
    tls: ssl.SSLContext | None

    def verdicts(self) -> Iterator[CheckResult]:
        """Connection, echo, contexts; ends with the first that is bad."""
        for check in (self.check_connection, self.check_echo, self.check_contexts):
            verdict = check()
            yield verdict
            if verdict.grade is Grade.BAD:
                return

    def check_connection(self) -> CheckResult:
        """Somebody listens, and shakes hands if TLS was agreed."""
        where = f"{self.destination.host}:{self.destination.port}"
        if self.destination.port == 0:
            return CheckResult(
                name="connection",
                grade=Grade.BAD,
                found="port = 0: any free port, which nobody outside can know",
                advice="give [intake.dicom] a port of its own",
            )
        address = (self.destination.host, self.destination.port)
        try:
            with socket.create_connection(address, timeout=CONNECT_TIMEOUT_S) as line:
                if self.tls is None:
                    return CheckResult(
                        name="connection", grade=Grade.GOOD, found=f"{where} listens"
                    )
                with self.tls.wrap_socket(line, server_hostname=self.destination.host) as secured:
                    version, cipher = secured.version(), secured.cipher()
        except OSError as fault:
            return CheckResult(
                name="connection",
                grade=Grade.BAD,
                found=f"{where}: {fault}",
                advice="does the service run? `mammoedge run`; is the port open?",
            )
        return CheckResult(
            name="connection",
            grade=Grade.GOOD,
            found=f"{where}: {version}, {cipher[0] if cipher else '?'}",
        )

    def check_echo(self) -> CheckResult:
        """An association for Verification, and its answer."""
        started_s = time.perf_counter()
        assoc = self._associate([build_context(VERIFICATION)])
        if not assoc.is_established:
            return CheckResult(
                name="echo",
                grade=Grade.BAD,
                found=f"no association as {self.calling} with {self.destination.ae_title}",
                advice="see calling_ae_titles and called_ae_titles; or too many associations",
            )
        status = assoc.send_c_echo().get("Status")
        end_association(assoc)
        if status != 0x0000:
            return CheckResult(name="echo", grade=Grade.BAD, found=f"status {status}")
        took_ms = (time.perf_counter() - started_s) * 1000
        return CheckResult(
            name="echo",
            grade=Grade.GOOD,
            found=f"{self.destination.ae_title} answers {self.calling} in {took_ms:.0f} ms",
        )

    def check_contexts(self) -> CheckResult:
        """Which presentation contexts are accepted: every class in every syntax, and the rest."""
        pairs = [(sop, syntax) for sop in STORAGE_CLASSES for syntax in TRANSFER_SYNTAXES]
        others = (KEY_OBJECT_SELECTION, PROCEDURE_STEP)
        wanted = [build_context(*pair) for pair in pairs]
        assoc = self._associate([*wanted, *(build_context(uid) for uid in others)])
        if not assoc.is_established:
            return CheckResult(name="contexts", grade=Grade.BAD, found="no association for storage")
        accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in assoc.accepted_contexts}
        classes = {abstract for abstract, _ in accepted}
        end_association(assoc)
        missing = [pair for pair in pairs if pair not in accepted]
        named = ", ".join(f"{UID(sop).name} in {UID(syntax).name}" for sop, syntax in missing[:3])
        silent = [UID(uid).name for uid in others if uid not in classes]
        count = len(pairs) - len(missing)
        return CheckResult(
            name="contexts",
            grade=Grade.BAD if missing else Grade.WARNING if silent else Grade.GOOD,
            found=f"{count} of {len(pairs)} of storage accepted"
            + (f"; not: {named}" if missing else "")
            + (f"; not: {', '.join(silent)}" if silent else ", procedure steps, rejection notes"),
        )

    def _associate(self, contexts: list[Any]) -> Any:
        entity = AE(ae_title=self.calling)
        entity.connection_timeout = entity.acse_timeout = CONNECT_TIMEOUT_S
        return entity.associate(
            self.destination.host,
            self.destination.port,
            contexts=contexts,
            ae_title=self.destination.ae_title,
            tls_args=None if self.tls is None else (self.tls, self.destination.host),
            evt_handlers=[(evt.EVT_CONN_OPEN, pause_surely)],
        )
