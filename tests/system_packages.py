"""Install the system programs that some tests drive, where apt and the right to use it are there; say what is missing.

Run by `make test` before the tests. Without the programs their tests skip with a reason, except in CI, where they fail.
"""

import os
import shutil
import subprocess
import sys

PROGRAMS = {
    **{"chromium": "chromium", "npm": "npm", "sshd": "openssh-server", "ssh": "openssh-client"},
    **{"cmake": "cmake", "g++": "g++", "javac": "default-jdk-headless", "kotlinc": "kotlin"},
}
"""Program to the Debian package that brings it."""


def main() -> None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.stderr.write(f"not installed, and no right to install: {', '.join(missing)}; their tests will skip\n")
        return
    sys.stderr.write(f"installing {', '.join(missing)}\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["apt-get", "update"], check=False, **quiet)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if subprocess.run(command, check=False, env=environment, **quiet).returncode:
        sys.stderr.write(f"could not install {', '.join(missing)}\n")


if __name__ == "__main__":
    main()
