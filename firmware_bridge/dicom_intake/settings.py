"""The section `[intake.dicom]` of unit.toml."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from firmware_bridge.dicom_intake.admission import AdmissionLimits
from firmware_bridge.dicom_network.association_limits import MEBIBYTE, AssociationLimits
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.transport_security import TlsSettings
from runtime.user_input.settings_section import IpNetwork

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
        default=12, ge=1, le=100, description="at once; more are refused for the moment"
    )
    max_associations_per_address: int | None = Field(
        default=None,
        ge=1,
        description="at once, from an address that known_addresses does not name; none: two fewer"
        " than max_associations, but two where these are there",
    )
    known_addresses: tuple[IpNetwork, ...] = Field(
        default=(),
        description="addresses or networks (10.1.2.0/24) of your own senders: places are reserved"
        " for them, and none is limited by its address",
    )
    reserved_associations: int = Field(
        default=2,
        ge=0,
        description="of max_associations, kept for known_addresses and calling_ae_titles where"
        " these are named",
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
        default=10.0,
        gt=0,
        description="how long a peer may take to ask for an association, from its first byte to"
        " its last",
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
    def admission(self) -> AdmissionLimits:
        """For whom there is a place."""
        per_address = self.max_associations_per_address
        return AdmissionLimits(
            most=self.max_associations,
            per_address=per_address
            or max(min(2, self.max_associations), self.max_associations - 2),
            reserved=self.reserved_associations,
            known_titles=self.calling_ae_titles,
            known_networks=tuple(map(ipaddress.ip_network, self.known_addresses)),
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
