"""Device profiles: what is known of a board, phone or machine, one YAML file each in `device_profiles/`."""

from typing import Literal

from edgekd.record import Record


class RuntimeOnDevice(Record):
    """A runtime as a device has it. `max_opset` and `max_ir` are what that version loads."""

    version: str
    max_opset: int
    max_ir: int
    threads: int


class Numerics(Record):
    """How int8 is stored for the device's integer kernels."""

    activations: Literal["int8", "uint8"]
    per_channel: bool
    reduce_range: bool


class LatencyConstants(Record):
    """Constants of the predictor for one device at its stated thread count, and the error band they were found to have."""


class DeviceProfile(Record):
    """One device. Every figure names its source under the same key in `sources`."""

    name: str
    title: str
    soc: str
    core: str
    cores: int
    clock_ghz: float
    isa: tuple[str, ...]
    memory_mib: int
    runtimes: dict[Literal["onnxruntime", "openvino"], RuntimeOnDevice]
    numerics: Numerics
    latency: LatencyConstants
    sources: dict[str, str]
