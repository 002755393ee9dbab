"""The unit's side of MPPS and of rejection notes, for simulated units and the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pynetdicom import AE, evt

from firmware_bridge.dicom_network.association_end import end_association
from firmware_bridge.dicom_network.reactor_pause import pause_surely
from firmware_bridge.dicom_network.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    KEY_OBJECT_SELECTION,
    PROCEDURE_STEP,
)
from firmware_bridge.sender.storage_scu import PeerUnreachableError
from firmware_bridge.simulated_exams.reissue import code_item
from runtime.exam_rules.procedure_step import StepState

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from collections.abc import Sequence as Items
    from pathlib import Path

    from firmware_bridge.dicom_network.destination import Destination
    from firmware_bridge.simulated_exams.exam_source import Taken
    from firmware_bridge.simulated_exams.reissue import ReissuedIdentity

QUALITY_REASONS = "113001"


class MppsScu:
    """Says to a destination that an exam begins and ends, each in an association of its own.

    Raises from every method:
        PeerUnreachableError: nobody answers, or the destination takes no procedure steps.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        calling_ae_title: str,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._destination = destination
        self._tls = (tls, destination.host) if tls is not None else None
        self._entity = AE(ae_title=calling_ae_title)
        self._entity.add_requested_context(PROCEDURE_STEP, EXPLICIT_VR_LITTLE_ENDIAN)
        self._entity.connection_timeout = self._entity.acse_timeout = timeout_s
        self._entity.dimse_timeout = self._entity.network_timeout = timeout_s

    def begin(self, step_uid: str, identity: ReissuedIdentity) -> int:
        """N-CREATE; the status of the answer."""
        scheduled = Dataset()
        scheduled.StudyInstanceUID = identity.study_instance_uid
        ds = Dataset()
        ds.ScheduledStepAttributesSequence = Sequence([scheduled])
        ds.PatientID = identity.patient_id
        ds.PerformedProcedureStepID = "1"
        ds.PerformedStationAETitle = str(self._entity.ae_title)
        ds.PerformedProcedureStepStartDate = identity.acquired_at.strftime("%Y%m%d")
        ds.PerformedProcedureStepStartTime = identity.acquired_at.strftime("%H%M%S")
        ds.PerformedProcedureStepStatus = StepState.IN_PROGRESS.value
        ds.PerformedProtocolCodeSequence = Sequence()
        ds.PerformedSeriesSequence = Sequence()
        ds.Modality = "MG"
        return self._ask(lambda assoc: assoc.send_n_create(ds, PROCEDURE_STEP, step_uid))

    def end(
        self,
        step_uid: str,
        identity: ReissuedIdentity,
        images: Items[Taken],
        state: StepState = StepState.COMPLETED,
    ) -> int:
        """N-SET with the images that were made; the status of the answer."""
        series = Dataset()
        series.SeriesInstanceUID = identity.series_instance_uid
        series.ReferencedImageSequence = Sequence(_reference(image) for image in images)
        ds = Dataset()
        ds.PerformedProcedureStepStatus = state.value
        ds.PerformedProcedureStepEndDate = identity.acquired_at.strftime("%Y%m%d")
        ds.PerformedSeriesSequence = Sequence([series])
        return self._ask(lambda assoc: assoc.send_n_set(ds, PROCEDURE_STEP, step_uid))

    def _ask(self, request: Any) -> int:
        destination = self._destination
        assoc = self._entity.associate(
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            tls_args=self._tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, pause_surely)],
        )
        if not assoc.is_established:
            raise PeerUnreachableError("no association for procedure steps")
        try:
            status, _ = request(assoc)
        finally:
            end_association(assoc)
        if "Status" not in status:
            raise PeerUnreachableError("no answer to a procedure step")
        return int(status.Status)


def write_rejection_note(
    rejected: Taken, identity: ReissuedIdentity, *, path: Path, new_uid: Callable[[], str]
) -> Path:
    """A Key Object Selection "Rejected for Quality Reasons" for one image (PS3.16 TID 2010)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_VR_LITTLE_ENDIAN)
    ds.SOPClassUID = KEY_OBJECT_SELECTION
    ds.SOPInstanceUID = new_uid()
    ds.StudyInstanceUID = identity.study_instance_uid
    ds.SeriesInstanceUID = new_uid()
    ds.PatientID = identity.patient_id
    ds.Modality = "KO"
    ds.ValueType = "CONTAINER"
    title = code_item(QUALITY_REASONS, "Rejected for Quality Reasons")
    title.CodingSchemeDesignator = "DCM"
    ds.ConceptNameCodeSequence = Sequence([title])
    series = Dataset()
    series.SeriesInstanceUID = identity.series_instance_uid
    series.ReferencedSOPSequence = Sequence([_reference(rejected)])
    evidence = Dataset()
    evidence.StudyInstanceUID = identity.study_instance_uid
    evidence.ReferencedSeriesSequence = Sequence([series])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence([evidence])
    ds.save_as(path, enforce_file_format=True)
    return path


def _reference(image: Taken) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.sop_class_uid
    item.ReferencedSOPInstanceUID = image.sop_instance_uid
    return item
