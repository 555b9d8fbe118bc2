"""CPU seconds of `edgekd --help` and of a bare Python, interleaved: `python benchmarks/startup.py`."""

import resource
import statistics
import subprocess
import sys

ROUNDS = 20
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "edgekd --help": [sys.executable, "-m", "edgekd.cli.main", "--help"],
    "edgekd devices": [sys.executable, "-m", "edgekd.cli.main", "devices"],
}


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of one child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            taken[name].append(cpu_seconds(command))
    for name, seconds in taken.items():
        print(
            f"{name:<16} median {statistics.median(seconds):.3f} s, most {max(seconds):.3f} s of CPU, {ROUNDS} rounds"
        )


if __name__ == "__main__":
    main()
