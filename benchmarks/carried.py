"""Carry the rates of a board that was measured over to one that was not, by ratios published for other runtimes.

    python benchmarks/carried.py TRUTH

For each pair of devices: the median ratio of their latencies in ncnn's benchmark table, or under TFLite with XNNPACK,
at one thread and at all threads. The cycles of the board are those of its reference times the first ratio and the
clocks'; its crowding is such that the networks in networks.csv take the second ratio at all threads, by the median.
Nothing is written: whoever changes a profile copies the printed rates there together with their source.
"""

import argparse
import csv
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devices import read_counts, works_of

from edgekd.device import LatencyConstants, load_profile
from edgekd.latency.calibration import Measurement, crowding_for, predicted
from edgekd.latency.conversion import Work, rates_of

PI4 = ("raspberry-pi-4", "Raspberry Pi 4 Model B", 4)
PI5 = ("raspberry-pi-5", "Raspberry Pi 5 Broadcom BCM2712, ", 4)
NCNN = {
    "raspberry-pi-3b-plus": ("Raspberry Pi 3 Model B", 4, PI4),
    "jetson-nano": ("NVIDIA Jetson Nano", 4, PI4),
    "rk3399": ("Rockchip RK3399", 2, PI4),
    "allwinner-h616": ("OrangePi Zero 2", 4, PI4),
    "amlogic-a311d": ("Khadas VIM3", 4, PI4),
    "rk3566": ("OrangePicm4", 4, PI5),
    "rk3568": ("Station P2", 4, PI5),
    "rk3588, one submission": ("Rockchip RK3588 (Cortex-A76 2.4GHz", 4, PI5),
    "rk3588, another": ("Rockchip RK3588 (Quad Core A76", 4, PI5),
    "jetson-orin-nano, by the AGX Orin": ("NVIDIA Jetson AGX Orin", 4, PI5),
    "android-flagship": ("Qualcomm SM8550-AB Snapdragon 8 Gen 2", 4, PI5),
    "dimensity-9300": ("MediaTek Dimensity 9300", 4, PI5),
    "snapdragon-855": ("Qualcomm SM8150-AC Snapdragon 855+", 4, PI5),
}
"""Profile to its name in ncnn's table, the threads that count as all, and the reference."""
CLOCKS = {"jetson-orin-nano": 2.2}
"""Of the board in ncnn's table, where it is another than the profile's."""
Times = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Ratios:
    """Median ratios of latencies, with the middle eight tenths, at one thread (None if not published) and at all."""

    single: tuple[float, float, float] | None
    several: tuple[float, float, float]
    nets: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    truth = parser.parse_args().truth
    table = list(csv.DictReader((truth / "ncnn_cpu.csv").open()))
    for name, (device, threads, (reference, there, all_threads)) in NCNN.items():
        for precision in ("fp32", "int8"):
            found = ratios(
                lambda count, device=device, precision=precision: ncnn(table, device, count, precision),
                lambda count, there=there, precision=precision: ncnn(table, there, count, precision),
                (threads, all_threads),
            )
            show(name, reference, precision, found)
    rows = list(csv.DictReader((truth / "runtimes.csv").open()))
    for name, device in (("intel-n100", "N100"), ("raspberry-pi-4", "Raspberry Pi 4")):
        for precision in ("fp32", "int8"):
            found = ratios(
                lambda count, device=device, precision=precision: tflite(rows, device, count, precision),
                lambda count, precision=precision: tflite(rows, "Raspberry Pi 5", count, precision),
                (4, 4),
            )
            show(name, "raspberry-pi-5", precision, found)


def ncnn(table: list[dict[str, str]], device: str, threads: int, precision: str) -> Times:
    """Best times by network; what the table calls fp32 is fp16 arithmetic on some cores, on both sides of a pair."""
    found: Times = {}
    for row in table:
        usable = row["device"].startswith(device) and row["gpu"] == "False" and row["suspect"] == "0"
        if usable and int(row["threads"]) == threads and row["precision"] == precision:
            key = (row["model"], precision)
            found[key] = min(found.get(key, float("inf")), float(row["min_ms"]))
    return found


def tflite(rows: list[dict[str, str]], device: str, threads: int, precision: str) -> Times:
    wanted = {"runtime": "tflite-xnnpack", "device": device, "threads": str(threads), "precision": precision}
    chosen = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return {(row["model"], row["input"]): float(row["latency_ms"]) for row in chosen}


def ratios(ours: Callable[[int], Times], theirs: Callable[[int], Times], threads: tuple[int, int]) -> Ratios | None:
    single, several = spread(ours(1), theirs(1)), spread(ours(threads[0]), theirs(threads[1]))
    return Ratios(single, several, len(ours(threads[0]).keys() & theirs(threads[1]).keys())) if several else None


def spread(ours: Times, theirs: Times) -> tuple[float, float, float] | None:
    found = sorted(ours[key] / theirs[key] for key in ours.keys() & theirs.keys())
    if not found:
        return None
    return statistics.median(found), found[len(found) // 10], found[-1 - len(found) // 10]


def show(name: str, reference: str, precision: str, found: Ratios | None) -> None:
    if found is None:
        print(f"{name}, {precision}: no network in common with {reference}")
        return
    said = [f"{one[0]:.2f} ({one[1]:.2f}-{one[2]:.2f})" if one else "-" for one in (found.single, found.several)]
    print(f"{name}, {precision}: {said[0]} at one thread, {said[1]} at all, of {reference}; {found.nets} networks")
    profile = name.partition(",")[0]
    if found.single:
        ours = load_profile(profile).latency
        if profile in CLOCKS:
            ours = ours.model_copy(update={"speeds_ghz": (CLOCKS[profile],) * 4, "threads": 4})
        rates = carried(ours, load_profile(reference).latency, precision, found)
        print("    " + ", ".join(f"{key} {value:.3g}" for key, value in rates.items()))


def carried(ours: LatencyConstants, theirs: LatencyConstants, precision: str, found: Ratios) -> dict[str, float]:
    """Rates of a board from its reference's and the ratios."""
    rates = rates_of(precision, theirs)
    factor = found.single[0] * ours.speeds_ghz[0] / theirs.speeds_ghz[0]
    cycles = {"multiply_cycles": rates.multiply_cycles * factor, "other_cycles": rates.other_cycles * factor}
    mine = ours.model_copy(update={precision: rates.model_copy(update=cycles)})
    crowding = []
    for works in networks(precision, theirs.level):
        there = predicted(Measurement("", works, precision, theirs.threads, 1.0), theirs)
        row = Measurement("", works, precision, ours.threads, there * found.several[0])
        crowding.append(crowding_for(row, mine))
    return {**cycles, "crowding_ns": statistics.median(crowding)}


def networks(precision: str, level: str) -> list[tuple[Work, ...]]:
    core = "cortex-a72" if precision == "int8" and level == "neon" else "cortex-a76"
    return [works_of(nodes) for key, nodes in read_counts().items() if key[1:] == (precision, core)]


if __name__ == "__main__":
    main()
