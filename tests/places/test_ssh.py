"""A real sshd on loopback, logged in to by key with the system's own client."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from edgekd.errors import EdgekdError, PlaceLost, UsageError
from edgekd.places import compiled, place, process, programs
from edgekd.places.ssh import parse_address
from edgekd.places.timing import bench, compare

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"min_runs": 10, "min_seconds": 0.0}
TOOLS = ("cat", "chmod", "df", "mkdir", "mktemp", "rm", "sh", "test", "uname")
"""All that a board must have besides Python."""
Chain = Callable[..., Path]


@dataclass(frozen=True)
class Board:
    """A server with a home of its own; `temporary` is its TMPDIR."""

    place: str
    folder: Path
    temporary: Path
    server: "subprocess.Popen[bytes]"

    def with_python(self, python: object = sys.executable) -> str:
        return f"{self.place}{python}"

    def cut(self, *, for_good: bool = False) -> None:
        """Kill the server's end of every connection, and nothing that runs behind it."""
        sessions = psutil.Process(self.server.pid).children()
        if for_good:
            self.server.kill()
            self.server.wait()
        for session in sessions:
            session.kill()


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Board]]:
    """Start servers whose host key is known and that let us in; settings of sshd_config are keywords."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh") is None:
        reason = "no OpenSSH server here: places behind ssh are not tried"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where root's sshd locks a process up; it insists
    folder = tmp_path / "ssh"
    for name in ("home", "bin", "client"):
        (folder / name).mkdir(parents=True)
    for tool in TOOLS:
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or "")
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_bytes((folder / "key.pub").read_bytes())
    (folder / "client" / "config").write_text(
        f"IdentityFile {folder}/key\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
    )
    (folder / "client" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/client/config "$@"\n')
    (folder / "client" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "client"), prepend=":")
    monkeypatch.setattr(place, "BACK_OFF", (0.2, 0.2))
    servers = []

    def start(**settings: str) -> Board:
        board = serve(program, folder, settings)
        servers.append(board)
        return board

    yield start
    for board in servers:
        if board.server.poll() is None:
            board.cut(for_good=True)


def serve(program: str, folder: Path, settings: dict[str, str]) -> Board:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = folder / f"tmp-{port}"
    temporary.mkdir()
    config = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": f"{folder}/host_key",
        "AuthorizedKeysFile": f"{folder}/authorized",
        "SetEnv": f"HOME={folder}/home PATH={folder}/bin TMPDIR={temporary}",
        **dict.fromkeys(("StrictModes", "UsePAM", "PasswordAuthentication", "KbdInteractiveAuthentication"), "no"),
        "PermitRootLogin": "prohibit-password",
        "PidFile": "none",
        **settings,
    }
    written = folder / f"sshd_config-{port}"
    written.write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    server = subprocess.Popen([program, "-D", "-f", written, "-E", folder / f"log-{port}"])
    public = (folder / "host_key.pub").read_text().split()[:2]
    with (folder / "known").open("a") as known:
        known.write(f"[127.0.0.1]:{port} {' '.join(public)}\n")
    for _ in range(100):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return Board(f"ssh://127.0.0.1:{port}", folder, temporary, server)


def test_a_board_is_timed_and_left_as_it_was(sshd, matmul_chain: Chain) -> None:
    board = sshd()
    found = bench(matmul_chain("model", count=2), on=board.with_python(), **QUICK)
    assert found.place == found.latency.p50_ms.place == board.place and found.latency.p50_ms.word == "measured"
    assert len(found.samples_ms) == 10 and found.environment["processes"] == 1
    assert found.memory.import_kib < found.memory.steady_kib
    assert found.runtime_version == found.environment["versions"]["onnxruntime"]
    assert list(board.temporary.iterdir()) == []


def test_two_builds_are_compared_there(sshd, matmul_chain: Chain) -> None:
    board = sshd()
    ratio = compare(
        matmul_chain("small", count=1),
        matmul_chain("large", count=8),
        on=board.with_python(),
        processes=2,
        min_seconds=0.2,
    )
    assert ratio.value > 2 and ratio.place == board.place


def test_weights_beside_the_model_and_a_given_input_go_along(sshd, matmul_chain: Chain, tmp_path: Path) -> None:
    model = matmul_chain("model", count=1, rows=4, width=64)
    apart = tmp_path / "apart" / "model.onnx"
    apart.parent.mkdir()
    onnx.save(onnx.load(model), apart, save_as_external_data=True, location="the weights", size_threshold=0)
    np.save(tmp_path / "input.npy", np.ones((1, 4, 64)))
    assert bench(apart, on=sshd().with_python(), inputs=tmp_path / "input.npy", **QUICK).first_ms > 0


def test_names_are_no_commands(sshd, matmul_chain: Chain, tmp_path: Path) -> None:
    board = sshd()
    hostile = tmp_path / "$(touch pwned); touch 'pwned' \"&& `touch pwned`\n.onnx"
    shutil.copy(matmul_chain("model", count=1), hostile)
    assert bench(hostile, on=board.with_python(), **QUICK).first_ms > 0
    with pytest.raises(UsageError, match="there is no '/bin/sh;touch pwned' there"):
        bench(hostile, on=f"{board.place}/bin/sh;touch pwned", **QUICK)
    assert not list(board.folder.rglob("pwned")) and not list(Path.home().glob("pwned"))


@pytest.mark.parametrize(
    "text",
    [
        *("ssh://", "ssh://-oProxyCommand=touch", "ssh://-l@board", "ssh://pi@-board", "ssh://pi@board:0"),
        *("ssh://pi@board:99999", "ssh://pi;reboot@board", "ssh://pi@bo ard", "ssh://pi@board/", "ssh://a@b@c"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    if text == "ssh://pi@board/":
        assert parse_address(text).python == "python3"
    else:
        with pytest.raises(UsageError, match="is no address of a machine"):
            parse_address(text)


def test_the_parts_of_an_address() -> None:
    whole = parse_address("ssh://pi@board.local:2222/home/pi/venv/bin/python")
    assert (whole.user, whole.host, whole.port, whole.python) == ("pi", "board.local", 2222, "/home/pi/venv/bin/python")
    assert whole.place == "ssh://pi@board.local:2222"
    assert whole.words == ["-l", "pi", "-p", "2222", "--", "board.local"]
    assert parse_address("ssh://[fe80::1%eth0]:22").place == "ssh://[fe80::1%eth0]:22"
    assert parse_address("ssh://board").words == ["--", "board"]


def test_a_python_without_onnxruntime(sshd, matmul_chain: Chain, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(UsageError) as refused:
        bench(matmul_chain("model", count=1), on=sshd().with_python(python))
    assert f"no onnxruntime and no numpy; install what is missing there: {python} -m pip install onnxruntime numpy" in (
        str(refused.value)
    )


@pytest.mark.skipif(os.uname().machine == "aarch64", reason="a program in C would be sent here")
def test_without_python_or_its_packages_only_aarch64_will_do(sshd, matmul_chain: Chain, tmp_path: Path) -> None:
    board, model = sshd(), matmul_chain("model", count=1)
    other = f"; what does without Python is for aarch64 alone, and this is '{os.uname().machine}'"
    with pytest.raises(
        UsageError, match=rf"there is no 'python3' there; install Python 3\.10 or newer with onnxruntime.*{other}"
    ):
        bench(model, on=board.place)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    bare = board.folder / "bin" / "python3"
    bare.write_text(f'#!/bin/sh\nexec {tmp_path}/bare/bin/python "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(UsageError, match=rf"no onnxruntime and no numpy; .* python3 -m pip install .*{other}"):
        bench(model, on=board.place)
    assert list(board.temporary.iterdir()) == []


def test_a_board_without_python_is_timed_by_a_program_in_c(
    sshd, matmul_chain: Chain, program: Path, tmp_path: Path, monkeypatch
) -> None:
    """This machine plays a board that the program is built for."""
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(program / "benchmark", files)
    (files / "libonnxruntime.so").symlink_to(program / "real" / "libonnxruntime.so")
    monkeypatch.setattr(programs, "ARCHITECTURE", os.uname().machine)
    monkeypatch.setattr(programs, "find_board_files", lambda version: files)
    monkeypatch.setattr(
        compiled, "command", lambda folder: ["/usr/bin/env", f"LD_LIBRARY_PATH={folder}", f"{folder}/benchmark"]
    )
    board = sshd()
    watching = when_samples_exist(board, board.cut)
    found = bench(matmul_chain("model", count=1), on=board.place, min_runs=1, min_seconds=3.0)
    watching.join()
    assert found.environment["program"] == programs.COMPILED and found.environment["processes"] == 2
    assert found.memory.import_kib < 40 * 1024  # a process with Python, numpy and the runtime takes more
    assert list(board.temporary.iterdir()) == [] and running_on(board) == []


def test_an_unknown_host_key(sshd, matmul_chain: Chain) -> None:
    board = sshd()
    (board.folder / "known").write_text("")
    with pytest.raises(PlaceLost, match="its host key is not known here; log in once to check and accept it: ssh -p"):
        bench(matmul_chain("model", count=1), on=board.place)


def test_another_host_key_than_the_known(sshd, matmul_chain: Chain) -> None:
    board = sshd()
    known = board.folder / "known"
    known.write_text(known.read_text().split()[0] + " " + " ".join((board.folder / "key.pub").read_text().split()[:2]))
    with pytest.raises(PlaceLost, match="its host key is not the one known here"):
        bench(matmul_chain("model", count=1), on=board.place)


def test_a_server_that_does_not_let_us_in_and_one_that_is_not_there(sshd, matmul_chain: Chain) -> None:
    board, model = sshd(), matmul_chain("model", count=1)
    (board.folder / "authorized").write_text("")
    with pytest.raises(PlaceLost, match=r"does not let you in by key .*copy yours there: ssh-copy-id"):
        bench(model, on=board.place)
    board.cut(for_good=True)
    with pytest.raises(PlaceLost, match=r"it cannot be reached \(ssh: .*Connection refused\)"):
        bench(model, on=board.place)


def when_samples_exist(board: Board, act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as the program on the board has kept its first samples."""

    def watch() -> None:
        for _ in range(600):
            for written in board.temporary.rglob("result.json"):
                try:
                    if "runs" in json.loads(written.read_text()):
                        return act()
                except (OSError, ValueError):
                    continue
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def running_on(board: Board) -> list[int]:
    processes = psutil.process_iter(["cmdline"])
    return [one.pid for one in processes if str(board.temporary) in " ".join(one.info["cmdline"] or ())]


def test_a_connection_cut_in_the_middle_goes_on_with_the_rest(sshd, matmul_chain: Chain) -> None:
    board = sshd()
    watching = when_samples_exist(board, board.cut)
    found = bench(matmul_chain("model", count=1), on=board.with_python(), min_runs=1, min_seconds=3.0)
    watching.join()
    assert found.environment["processes"] == 2
    assert "the connection was lost, and the samples come from 2 processes" in found.disturbed
    seconds = sum(found.samples_ms) / len(found.samples_ms) * found.environment["runs"] / 1e3
    assert 2.0 < seconds < 4.5  # three in all, not three more
    assert list(board.temporary.iterdir()) == []
    assert running_on(board) == []  # what was cut off has ended


def test_a_connection_cut_for_good_is_a_lost_place(sshd, matmul_chain: Chain) -> None:
    board = sshd()
    watching = when_samples_exist(board, lambda: board.cut(for_good=True))
    with pytest.raises(PlaceLost, match=r"Connection refused.*did not come back in 2 further tries") as lost:
        bench(matmul_chain("model", count=1), on=board.with_python(), min_runs=1, min_seconds=3.0)
    watching.join()
    assert lost.value.exit_code == 4


def test_a_full_disk_there(sshd, matmul_chain: Chain) -> None:
    board = sshd(ForceCommand='ulimit -f 128; eval "$SSH_ORIGINAL_COMMAND"')
    model = matmul_chain("model", count=1)  # 256 KiB
    with pytest.raises(
        EdgekdError, match=r"the disk is full there, 'model.onnx' could not be written; free some space"
    ):
        bench(model, on=board.with_python())
    assert list(board.temporary.iterdir()) == []


def test_a_process_killed_there_is_explained(sshd, matmul_chain: Chain, tmp_path: Path, monkeypatch) -> None:
    program = tmp_path / "dying.py"
    program.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(process, "PROGRAM", program)
    with pytest.raises(EdgekdError, match=r"died \(SIGKILL\).*most likely the memory ran out"):
        bench(matmul_chain("model", count=1), on=sshd().with_python())


def test_an_interrupt_leaves_nothing_there(sshd, matmul_chain: Chain) -> None:
    board = sshd()
    words = ["bench", matmul_chain("model", count=1), "--on", board.with_python(), "--seconds", "20"]
    command = subprocess.Popen(
        [sys.executable, "-m", "edgekd.cli.main", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    when_samples_exist(board, lambda: command.send_signal(signal.SIGINT)).join()
    _, said = command.communicate(timeout=60)
    assert command.returncode == 130 and b"interrupted" in said
    assert list(board.temporary.iterdir()) == []


def test_several_places_are_one_table_with_the_worst_exit_code(sshd, matmul_chain: Chain, edgekd) -> None:
    board, model = sshd(), matmul_chain("model", count=1)
    places = [board.with_python(), board.place, "ssh://127.0.0.1:1"]
    words = ["bench", model, "--seconds", "0", *(word for place in places for word in ("--on", place))]
    printed = edgekd(*words, "--json")
    table = json.loads(printed.stdout)
    assert (printed.returncode, table["exit_code"], table["schema"]) == (4, 4, 1)
    assert [row["exit_code"] for row in table["places"]] == [0, 2, 4]
    assert table["places"][0]["result"]["place"] == board.place and table["places"][0]["error"] is None
    assert table["places"][1]["result"] is None and "no 'python3' there" in table["places"][1]["error"]
    shown = edgekd("bench", model, "--on", board.place, "--on", "ssh://127.0.0.1:1")
    assert shown.returncode == 4, shown.stderr
    assert shown.stdout.count("failed: ") == 2 and "Connection refused" in shown.stdout


def test_doctor_looks_at_a_board(sshd, edgekd, tmp_path: Path) -> None:
    board = sshd()
    seen = json.loads(edgekd("doctor", "--on", board.with_python(), "--target", "raspberry-pi-5", "--json").stdout)
    checks = {one["name"]: one for one in seen["checks"]}
    assert checks["onnxruntime"]["good"] and checks["onnxruntime loads"]["found"].startswith("opset up to ")
    assert checks["like raspberry-pi-5"]["good"] is (os.uname().machine == "aarch64")
    assert seen["environment"]["load"] >= 0
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    bare = edgekd("doctor", "--on", board.with_python(tmp_path / "bare" / "bin" / "python"))
    assert bare.returncode == 0 and bare.stdout.count("! not installed") == 2
    assert list(board.temporary.iterdir()) == []
