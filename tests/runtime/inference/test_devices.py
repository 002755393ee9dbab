"""Which device runs a package: preference, refusal, failed proof, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from runtime.inference.devices import (
    DeviceRefusedError,
    EngineFaultError,
    NoUsableDeviceError,
    choose_device,
    normalised,
)

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.inference.devices import Choice


@dataclass
class FakeGraph:
    """A graph that ran nowhere."""

    device: str
    precision: str = "f16"

    def run(self, tensors: object) -> dict[str, object]:
        return {}


@dataclass
class FakeMachine:
    """A machine with the devices that a test needs, each with its own whim."""

    present: tuple[str, ...]
    refusing: dict[str, str] = field(default_factory=dict)
    """Device -> why it will not compile."""
    compiled: list[str] = field(default_factory=list)

    def devices(self) -> tuple[str, ...]:
        return self.present

    def compile(self, graph: Path | None, device: str, inference_precision: str) -> FakeGraph:
        if device in self.refusing:
            raise DeviceRefusedError(self.refusing[device])
        self.compiled.append(device)
        return FakeGraph(device)


def choose(
    machine: FakeMachine, *devices: str, doubts: dict[str, str | Exception] | None = None
) -> Choice:
    """Choose among `devices`; `doubts` says how the golden cases go on each."""

    def prove(graph: FakeGraph) -> str:
        doubt = (doubts or {}).get(graph.device, "")
        if isinstance(doubt, Exception):
            raise doubt
        return doubt

    return choose_device(
        machine, lambda device: machine.compile(None, device, "f32"), prove, devices, package="p-1"
    )


def test_the_first_device_that_is_there_runs() -> None:
    """Nothing else is even compiled, and no fallback is reported."""
    machine = FakeMachine(present=("CPU", "GPU", "NPU"))
    execution = choose(machine, "NPU", "GPU", "CPU").execution
    assert machine.compiled == ["NPU"]
    assert (execution.requested_device, execution.actual_device) == ("NPU", "NPU")
    assert execution.fallback_reason == ""
    assert execution.executed_precision == "f16"


def test_a_missing_device_is_passed_over_and_said_so() -> None:
    """The result carries requested and actual device and the reason."""
    execution = choose(FakeMachine(present=("CPU",)), "NPU", "CPU").execution
    assert (execution.requested_device, execution.actual_device) == ("NPU", "CPU")
    assert execution.fallback_reason == "NPU: not on this machine (there is CPU)"


def test_a_device_that_refuses_the_graph_is_passed_over_in_its_own_words() -> None:
    """An NPU driver that cannot compile an operation does not stop the unit."""
    machine = FakeMachine(present=("CPU", "NPU"), refusing={"NPU": "TopK is not supported"})
    execution = choose(machine, "NPU", "CPU").execution
    assert execution.actual_device == "CPU"
    assert execution.fallback_reason == "NPU: TopK is not supported"


def test_a_device_that_fails_a_golden_case_is_not_used() -> None:
    """A wrong answer is worse than a slow one."""
    machine = FakeMachine(present=("CPU", "GPU"))
    execution = choose(machine, "GPU", "CPU", doubts={"GPU": "golden case a: 0.9"}).execution
    assert execution.actual_device == "CPU"
    assert execution.fallback_reason == "GPU: golden case a: 0.9"


def test_a_device_that_breaks_down_in_its_proof_is_not_used() -> None:
    """A fault during a golden case is a reason like any other."""
    machine = FakeMachine(present=("CPU", "GPU"))
    doubts: dict[str, str | Exception] = {"GPU": EngineFaultError("device lost")}
    assert choose(machine, "GPU", "CPU", doubts=doubts).execution.fallback_reason == (
        "GPU: device lost"
    )


def test_several_fallbacks_are_all_told() -> None:
    """NPU missing and GPU refusing: both reasons, in order."""
    machine = FakeMachine(present=("CPU", "GPU"), refusing={"GPU": "no memory"})
    assert choose(machine, "NPU", "GPU", "CPU").execution.fallback_reason == (
        "NPU: not on this machine (there is CPU, GPU); GPU: no memory"
    )


def test_when_no_device_is_left_each_has_its_line() -> None:
    """The operator sees what to mend."""
    machine = FakeMachine(present=("CPU",))
    with pytest.raises(NoUsableDeviceError) as refused:
        choose(machine, "NPU", "CPU", doubts={"CPU": "golden case a: 0.9"})
    assert refused.value.attempts == (
        "NPU: not on this machine (there is CPU)",
        "CPU: golden case a: 0.9",
    )


def test_no_device_asked_for_is_an_error_too() -> None:
    """An empty list never means any."""
    with pytest.raises(NoUsableDeviceError, match="no device was asked for"):
        choose(FakeMachine(present=("CPU",)))


def test_vpu_is_the_old_name_of_the_npu() -> None:
    """Settings written for it go on working; doubles are tried once."""
    assert normalised(("VPU", "npu", " cpu ")) == ("NPU", "CPU")


def test_gpu_means_the_first_of_several() -> None:
    """OpenVINO lists them as GPU.0 and GPU.1 then."""
    machine = FakeMachine(present=("CPU", "GPU.0", "GPU.1"))
    assert choose(machine, "GPU", "CPU").execution.requested_device == "GPU"
    assert machine.compiled == ["GPU"]
