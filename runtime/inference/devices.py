"""Which device runs a package: the first of the unit's list that is there and proves itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from models.errors import InternalError, ResourceError
from runtime.image.outcome import Execution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

# VPU is what OpenVINO called the NPU until 2022; settings written for it go on working.
OLD_NAMES = {"VPU": "NPU"}


class EngineFaultError(InternalError):
    """An inference failed: the device or the graph, not the image. The engine may be rebuilt."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What the engine said."""
        return (f"engine: {self}",)


class DeviceRefusedError(ResourceError):
    """A device would not compile the graph; the text is its own, on one line."""


class NoUsableDeviceError(ResourceError):
    """No device of the list can run the package.

    Attributes:
        attempts: one `DEVICE: why not` for each device that was asked for.
    """

    def __init__(self, package: str, attempts: tuple[str, ...]) -> None:
        self.package = package
        self.attempts = attempts
        super().__init__(f"no device can run {package}: " + "; ".join(attempts))

    @property
    def lines(self) -> tuple[str, ...]:
        """Each device, and why not."""
        return self.attempts


class Graph(Protocol):
    """A graph compiled for one device."""

    @property
    def device(self) -> str:
        """The device that executes it, as the toolkit reports it."""
        ...

    @property
    def precision(self) -> str:
        """The precision that its layers execute in: f32, f16, bf16 or int8."""
        ...

    def run(self, tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """Output tensors by name, valid until the next call.

        Raises:
            EngineFaultError: the device failed.
        """
        ...


class Toolkit(Protocol):
    """What compiles graphs: OpenVINO, or a fake with the devices that a test needs."""

    def devices(self) -> tuple[str, ...]:
        """The devices of this machine: `CPU`, `GPU`, `GPU.1`, `NPU`."""
        ...

    def compile(self, graph: Path, device: str, inference_precision: str) -> Graph:
        """Compile an IR file for `device` at f32, f16 or bf16.

        Raises:
            DeviceRefusedError: the device cannot.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The graph that will run, and what is said about it in every result."""

    graph: Graph
    execution: Execution


def normalised(devices: tuple[str, ...]) -> tuple[str, ...]:
    """Device names as OpenVINO spells them, each once, in the order of preference."""
    names = (OLD_NAMES.get(name.strip().upper(), name.strip().upper()) for name in devices)
    return tuple(dict.fromkeys(names))


def choose_device(
    toolkit: Toolkit,
    compile_for: Callable[[str], Graph],
    prove: Callable[[Graph], str],
    devices: tuple[str, ...],
    *,
    package: str,
) -> Choice:
    """The first of `devices` that is present, compiles the graph and gives the golden scores.

    Args:
        toolkit: says which devices there are.
        compile_for: compiles the package's graph for a device.
        prove: "" if the graph gives every golden score, else the reason why it is not used.
        devices: in order of preference.
        package: for the error.

    Raises:
        NoUsableDeviceError: none is left; it says why for each.
    """
    present = toolkit.devices()
    attempts: list[str] = []
    wanted = normalised(devices)
    for device in wanted:
        if not _is_present(device, present):
            attempts.append(f"{device}: not on this machine (there is {', '.join(present)})")
            continue
        try:
            graph = compile_for(device)
            doubt = prove(graph)
        except (DeviceRefusedError, EngineFaultError) as fault:
            attempts.append(f"{device}: {fault}")
            continue
        if doubt:
            attempts.append(f"{device}: {doubt}")
            continue
        execution = Execution(
            requested_device=wanted[0],
            actual_device=graph.device,
            executed_precision=graph.precision,
            fallback_reason="; ".join(attempts),
        )
        return Choice(graph=graph, execution=execution)
    raise NoUsableDeviceError(package, tuple(attempts) or ("no device was asked for",))


def _is_present(device: str, present: tuple[str, ...]) -> bool:
    # "GPU" means the first of several, which OpenVINO then lists as GPU.0, GPU.1.
    return device in present or any(name.startswith(f"{device}.") for name in present)
