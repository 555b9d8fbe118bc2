"""Device profiles: what is known of a board, phone or machine, one YAML file each in `device_profiles/`."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from edgekd.errors import BadInput, UsageError, did_you_mean
from edgekd.numerics import Decision, decide_integers, decide_runtime, numerics_for
from edgekd.numerics import Numerics as Numerics
from edgekd.own_profiles import own_profile_files
from edgekd.record import Record
from edgekd.resources import data_folder

log = logging.getLogger(__name__)
_MOST_BYTES = 2**18
RuntimeName = Literal["onnxruntime", "openvino"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class RuntimeOnDevice(Record):
    """A runtime as a device has it. `max_opset` and `max_ir` are what that version loads."""

    version: str
    max_opset: Count
    max_ir: Count
    threads: Count


class Rates(Record):
    """What instructions take in one precision: `edgekd.latency.conversion` says how the figures come together.

    `multiply_cycles` is the core cycles of an instruction that multiplies and accumulates, `other_cycles` those of any
    other, on one core that has the memory to itself. `crowding_ns` is what the other cores cost an instruction of
    weight one when all threads run. `low` and `high` are meant to bound the true latency, divided by the estimate, in
    nine of ten cases; the source of the rates says whether that rests on errors of nets left out of the fit.
    `carried_from` is the device whose figures these are, scaled, where the device's own runtime was not measured.
    """

    multiply_cycles: Positive
    other_cycles: Positive
    crowding_ns: NotNegative
    low: Annotated[float, Field(gt=0, le=1)]
    high: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    carried_from: str | None = None


class LatencyConstants(Record):
    """Constants of the predictor for one device, which uses `threads` threads unless told otherwise.

    `level` names the table of counted instructions. `speeds_ghz` is the clock of each core that threads run on, fastest
    first, a lesser core's times its share of the first one's work per cycle. `bandwidth_gb_s` is how fast weights
    stream in. `fitted_gmacs` is the range of model sizes among the measurements behind the rates.
    """

    level: Literal["neon", "dotprod"]
    threads: Count
    speeds_ghz: Annotated[tuple[Positive, ...], Field(min_length=1)]
    bandwidth_gb_s: Positive
    fp32: Rates
    int8: Rates
    fitted_gmacs: tuple[Positive, Positive]

    @model_validator(mode="after")
    def _every_thread_has_a_core(self) -> "LatencyConstants":
        if self.threads > len(self.speeds_ghz):
            raise ValueError(f"{self.threads} threads on {len(self.speeds_ghz)} cores; list a speed for each core")
        return self


class Checked(Record):
    """A published latency beside what the profile says: `error` is predicted over published, less one, the net left
    out of the fit where it took part in it. `threads` is None where the source does not say how many."""

    net: str
    precision: Literal["fp32", "int8"]
    threads: Count | None
    published_ms: Positive
    error: Annotated[float, Field(gt=-1, allow_inf_nan=False)]
    source: str


class DeviceProfile(Record):
    """One device. Every figure names its source in `sources`, under its dotted key or that of what holds it.

    `numerics` follow from `isa`; a profile that states others names the source of that too.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    soc: str
    core: str
    cores: Count
    clock_ghz: Positive
    isa: tuple[str, ...]
    memory_mib: Count
    runtimes: dict[RuntimeName, RuntimeOnDevice]
    numerics: Numerics = Field(default_factory=lambda facts: numerics_for(facts.get("isa", ())))
    latency: LatencyConstants
    checked: tuple[Checked, ...] = ()
    sources: dict[str, str]

    @model_validator(mode="after")
    def _every_figure_has_a_source(self) -> "DeviceProfile":
        needed = ["soc", "core", "cores", "clock_ghz", "isa", "memory_mib"]
        needed += ["numerics"] * (self.numerics != numerics_for(self.isa))
        needed += [f"runtimes.{name}" for name in self.runtimes]
        needed += ["latency", "latency.fp32", "latency.int8"]
        missing = [key for key in needed if not self.sources.get(key)]
        if missing:
            raise ValueError(f"no source is given for {', '.join(missing)}")
        return self

    def source_of(self, key: str) -> str:
        """Where a figure comes from: the source of its dotted key, or of the nearest record that holds it."""
        while key and key not in self.sources:
            key = key.rpartition(".")[0]
        return self.sources.get(key, "")

    def decisions(self) -> tuple[Decision, ...]:
        """What the facts decide: how int8 is stored, opset, IR version, threads and session options, with reasons."""
        found = decide_integers(self.isa, self.numerics, self.sources.get("numerics", ""))
        for name, runtime in self.runtimes.items():
            found += decide_runtime(name, **dict(runtime), cores=self.cores, measured=self.name == HOST)
        return found


@dataclass(frozen=True)
class Resolved:
    """The profile behind a name, and what the user should know if the name was not its own."""

    profile: DeviceProfile
    note: str | None = None


HOST = "host"
_ALIASES = {
    "raspberry-pi": "raspberry-pi-5",
    "rpi": "raspberry-pi-5",
    **dict.fromkeys(("pi5", "pi-5", "rpi5", "rpi-5"), "raspberry-pi-5"),
    **dict.fromkeys(("pi4", "pi-4", "rpi4", "rpi-4", "raspberry-pi-4b"), "raspberry-pi-4"),
    **dict.fromkeys(("pi3", "pi-3", "rpi3", "rpi-3", "raspberry-pi-3"), "raspberry-pi-3b-plus"),
    **dict.fromkeys(("pi-zero-2", "pi-zero-2-w", "rpi-zero-2", "raspberry-pi-zero-2"), "raspberry-pi-zero-2-w"),
    **dict.fromkeys(("rock-5b", "orange-pi-5"), "rk3588"),
    **dict.fromkeys(("rock-3c", "radxa-zero-3w"), "rk3566"),
    "rock-3a": "rk3568",
    **dict.fromkeys(("orange-pi-4", "nanopi-m4"), "rk3399"),
    "orange-pi-zero-2": "allwinner-h616",
    **dict.fromkeys(("khadas-vim3", "banana-pi-cm4"), "amlogic-a311d"),
    "pixel-4": "snapdragon-855",
    "pixel-6": "snapdragon-888",
    **dict.fromkeys(("rb3-gen-2", "qcs6490"), "dragonwing-rb3-gen2"),
    **dict.fromkeys(("jetson", "orin-nano"), "jetson-orin-nano"),
    **dict.fromkeys(("n100", "alder-lake-n"), "intel-n100"),
    **dict.fromkeys(("android", "phone"), "android-mid-range"),
    "localhost": HOST,
}
_FAMILIES = {
    "raspberry-pi": "raspberry-pi-",
    "rpi": "raspberry-pi-",
    "android": "android-",
    "phone": "android-",
}
"""Names that say less than a profile does, with what the alternatives' names begin with."""
_32_BIT = frozenset(
    {
        *("raspberry-pi-3b-32-bit", "raspberry-pi-3b-32bit", "raspberry-pi-2", "raspberry-pi-1", "pi2", "pi-2"),
        *("raspberry-pi-zero", "raspberry-pi-zero-w", "pi-zero", "pi-zero-w", "armv6", "armv7", "armhf"),
    }
)


def load_profile(name: str) -> DeviceProfile:
    """Return the profile of that exact name, or of a path to a profile of the user's own.

    Raises UsageError where there is no such profile, BadInput where its file is not a valid one.
    """
    if name == HOST:
        from edgekd.this_machine import host_profile

        return host_profile()
    if _is_path(name):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"There is no device profile at {name!r}; `edgekd devices` lists the names that ship.")
        return _read(path)
    files = {**own_profile_files(), **_files()}
    if name not in files:
        raise UsageError(f"There is no device {name[:60]!r}{did_you_mean(name, [*files, HOST])}")
    return _read(files[name])


def list_profiles() -> list[DeviceProfile]:
    """Return every profile that ships, by name; `host` is not among them."""
    return [_read(path) for _, path in sorted(_files().items())]


def list_own_profiles() -> list[DeviceProfile]:
    """Return the user's own profiles, by name; one that cannot be read is left out with a line in the log."""
    found = []
    for path in own_profile_files().values():
        try:
            found.append(_read(path))
        except BadInput as error:
            log.warning("%s", error)
    return found


def resolve(name: str) -> Resolved:
    """Return the profile that a user's word stands for, with a note where another was chosen for it."""
    plain = name if _is_path(name) else re.sub(r"[ _]+", "-", name.strip().lower())
    if plain in _32_BIT:
        raise UsageError(
            f"{plain} is a 32-bit system, for which ONNX Runtime publishes no library; on a Raspberry Pi 3 or newer "
            "install a 64-bit system and take that board's name."
        )
    if plain not in _ALIASES:
        return Resolved(load_profile(plain))
    profile = load_profile(_ALIASES[plain])
    note = f"{plain} is taken as {profile.name}"
    if plain in _FAMILIES:
        others = [other for other in sorted(_files()) if other.startswith(_FAMILIES[plain]) and other != profile.name]
        note += f"; alternatives: {', '.join(others)}"
    return Resolved(profile, note)


def device_name(word: str) -> str:
    """Return the name of the profile that a user's word stands for. Raises UsageError where there is none."""
    plain = re.sub(r"[ _]+", "-", word.strip().lower())
    found = load_profile(word).name if _is_path(word) else _ALIASES.get(plain, plain)
    known = [*_files(), *own_profile_files(), HOST]
    if not _is_path(word) and found not in known:
        raise UsageError(f"There is no device {plain[:60]!r}{did_you_mean(plain, known)}")
    return found


def aliases_of(name: str) -> tuple[str, ...]:
    """Other names under which `resolve` finds the profile of this name."""
    return tuple(alias for alias, stands_for in _ALIASES.items() if stands_for == name)


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def _files() -> dict[str, Path]:
    return {path.stem: path for path in data_folder("device_profiles").glob("*.yaml")}


def _read(path: Path) -> DeviceProfile:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInput(f"{path.name}: this is larger than any device profile; mend or remove it.")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise BadInput(f"{path.name}{where}: this is not readable YAML; mend or remove it.") from error
    if not isinstance(content, dict):
        raise BadInput(
            f"{path.name}: a device profile is a mapping of keys to values; `edgekd devices show` prints one."
        )
    try:
        profile = DeviceProfile.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"{path.name}: {_first_problem(error)}") from None
    if profile.name == HOST:  # what is measured here would count as measured on that device
        raise BadInput(f"{path.name}: name: {HOST!r} is the machine that edgekd runs on; give the device another name.")
    if "onnxruntime" not in profile.runtimes:
        raise BadInput(f"{path.name}: runtimes: onnxruntime is missing; say which version the device has.")
    return profile


def _first_problem(error: ValidationError) -> str:
    problem: Any = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"])[:80]
    if problem["type"] == "extra_forbidden":
        known = _keys(DeviceProfile)
        return f"there is no key {key!r} in a device profile{did_you_mean(key, known)}."
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key + ': ' if key else ''}{message}; see `edgekd devices show raspberry-pi-5` for a whole profile."


def _keys(record: type[Record], prefix: str = "") -> list[str]:
    """Dotted keys of a record and of the records in it."""
    found: list[str] = []
    for name, field in record.model_fields.items():
        found.append(prefix + name)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Record):
            found += _keys(inner, f"{prefix}{name}.")
    return found
