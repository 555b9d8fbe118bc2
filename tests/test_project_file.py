"""edgekd.yaml, and which of all limits given hold for a device."""

from pathlib import Path

import pytest

from edgekd.errors import BadInput, UsageError
from edgekd.project_file import Project, read_project, settle
from edgekd.recipe_file import make_recipe

PI4 = "raspberry-pi-4"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("sources", "settled"),
    [
        ([], ()),
        ([["latency=9ms"], ["latency=8ms", "drop=1%"]], ("latency=8ms", "drop=1%")),
        ([["latency=9ms", "latency=20ms@raspberry-pi-4"]], ("latency=20ms",)),
        ([["latency=20ms@raspberry-pi-4", "latency=9ms"]], ("latency=20ms",)),
        ([["latency=20ms@pi4"]], ("latency=20ms",)),  # a word that stands for the device
        ([["latency=20ms @ raspberry-pi-5"]], ()),
        ([["latency=9ms", "latency=5ms@host"]], ("latency=9ms",)),
        ([["latency=20ms@raspberry-pi-4"], ["latency=9ms"]], ("latency=9ms",)),  # the later source wins
        ([["latency=9ms"], ["latency_p95=8ms"]], ("latency_p95=8ms",)),  # the same percentile
        (
            [["latency=9ms"], ["latency_p50=8ms", "latency_p99=12ms"]],
            ("latency=9ms", "latency_p50=8ms", "latency_p99=12ms"),
        ),
    ],
)
def test_the_limits_of_a_device(sources: list[list[str]], settled: tuple[str, ...]) -> None:
    assert settle(sources, PI4) == settled
    if not any("@" in text for source in sources for text in source):
        assert settle(sources, "a device that nobody asked about") == settled


def test_a_limit_for_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="'raspbery-pi-4'; did you mean 'raspberry-pi-4'"):
        settle([["latency=20ms@raspbery-pi-4"]], PI4)
    with pytest.raises(UsageError, match="second one for latency on 'pi4'"):
        settle([["latency=20ms@pi4", "latency=30ms@pi4"]], PI4)
    with pytest.raises(UsageError, match="names no device after '@'"):
        settle([["latency=20ms@"]], PI4)


def test_a_device_of_the_users_own_has_the_limits_for_all() -> None:
    assert settle([["latency=9ms", "latency=20ms@pi4"]], "my-board") == ("latency=9ms",)


def test_a_project_without_a_file_has_no_limits() -> None:
    assert read_project() == Project()


def test_a_project_limits_and_warns() -> None:
    Path("edgekd.yaml").write_text("budget:\n- drop=1%\n- latency=60ms@pi4\nwarn: size=2MiB\n")
    assert read_project() == Project(budget=("drop=1%", "latency=60ms@pi4"), warn=("size=2MiB",))
    plan = make_recipe(model="m.pt2", target="pi4", warn=("size=1MiB", "load=1s"))
    assert (plan.budget, plan.warn) == (("drop=1%", "latency=60ms"), ("size=1MiB", "load=1s"))
    assert make_recipe(model="m.pt2", target="raspberry-pi-5").budget == ("drop=1%",)


def test_a_recipe_has_limits_by_device_too() -> None:
    Path("r.yaml").write_text("budget: [latency=8ms, latency=20ms@pi4]\nwarn: latency=6ms\n")
    plan = make_recipe("r.yaml", model="m.pt2", target="pi4")
    assert (plan.budget, plan.warn) == (("latency=20ms",), ("latency=6ms",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: [latency=30]", "edgekd.yaml: The budget 'latency=30' has no unit"),
        ("warn: [latancy=30ms]", "did you mean 'latency'"),
        ("budget: [size=2MiB@toaster]", "edgekd.yaml: There is no device 'toaster'"),
        ("budgets: []", "not 'budgets'; did you mean 'budget'"),
        ("epochs: 3", "may hold only `budget:` and `warn:`"),
        ("budget: {latency: 30ms}", "must be a list of limits"),
        ("budget: [30]", "must be a list of limits"),
        ("- latency=30ms", "key: value"),
        ("budget: [unclosed", "cannot be read as YAML"),
        ("budget: " + "[" * 5000, "cannot be read as YAML"),
        ("budget: !!python/object/apply:os.system ['touch canary']", "cannot be read as YAML"),
        ("#" * 2**21, "larger than any recipe"),
    ],
)
def test_a_broken_project_file_is_one_sentence(text: str, said: str) -> None:
    Path("edgekd.yaml").write_text(text)
    with pytest.raises(BadInput) as refused:
        read_project()
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not Path("canary").exists()
