"""The section `[intake.dicom]` of unit.toml."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from firmware_bridge.dicom_network.association_limits import MEBIBYTE, AssociationLimits
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.transport_security import TlsSettings

# PS3.5 6.2, AE: 16 characters without backslash and control characters, not only spaces; spaces
# around it say nothing, so that none are taken.
AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]


def _destination(address: str) -> str:
    Destination.parse(address)
    return address


ViewCode = Annotated[str, Field(pattern=r"^[RL](CC|MLO)$")]


class DicomIntakeSettings(BaseModel):
    """Who we are on the network, who may send, and how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ae_title: AeTitle = Field(default="MAMMOEDGE", description="our AE title")
    host: str = Field(default="0.0.0.0", min_length=1, description="address to listen at")  # noqa: S104 - a unit sends from outside
    port: int = Field(default=11112, ge=0, le=65535, description="0 takes any free port")
    calling_ae_titles: tuple[AeTitle, ...] = Field(
        default=(), description="who may send; empty: everybody"
    )
    called_ae_titles: tuple[AeTitle, ...] = Field(
        default=(), description="under which names we answer; empty: any"
    )
    tls: TlsSettings | None = Field(default=None, description="no clear text then; port 2762")
    procedure_views: dict[str, Annotated[tuple[ViewCode, ...], Field(min_length=1)]] = Field(
        default={}, description="procedure codes (MPPS) of exams with fewer views than usual"
    )
    commitment_pacs: Annotated[str, AfterValidator(_destination)] | None = Field(
        default=None, description="AE@HOST:PORT that may commit objects; without: always failure"
    )
    commitment_timeout_s: float = Field(default=60.0, gt=0, description="for its answer")
    max_associations: int = Field(
        default=10, ge=1, le=100, description="at once; more are refused for the moment"
    )
    max_pdu_kib: int = Field(
        default=256, ge=16, le=4096, description="each association holds one in memory"
    )
    max_object_mib: int = Field(
        default=4096,
        ge=1,
        description="a larger transfer is aborted; a tomosynthesis volume has 2 to 3 GiB",
    )
    acse_timeout_s: float = Field(
        default=10.0, gt=0, description="how long a peer may take to ask for an association"
    )
    network_timeout_s: float = Field(
        default=60.0, gt=0, description="how long a line may be idle, and a PDU be on its way"
    )
    object_timeout_s: float = Field(
        default=600.0, gt=0, description="how long one object may be on its way"
    )
    drain_timeout_s: float = Field(
        default=5.0, ge=0, description="how long arriving objects may take to finish at a stop"
    )

    @property
    def limits(self) -> AssociationLimits:
        """What each association is held to."""
        return AssociationLimits(
            max_pdu_bytes=self.max_pdu_kib * 1024,
            max_object_bytes=self.max_object_mib * MEBIBYTE,
            object_timeout_s=self.object_timeout_s,
            pdu_timeout_s=self.network_timeout_s,
        )
