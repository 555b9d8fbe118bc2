"""Rates that were planted come back, and the profile that is written is one."""

from types import SimpleNamespace

import onnx
import pytest
import yaml

import edgekd.calibration.board as board
from edgekd.calibration.reference_graphs import REFERENCE_GRAPHS
from edgekd.device import list_own_profiles, load_profile
from edgekd.errors import BadInput, UsageError
from edgekd.latency.calibration import predicted
from edgekd.own_profiles import own_folder, own_profile_file


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def slow_board(monkeypatch):
    """A place where float takes 1.5 and int8 1.2 times what the profile of the Raspberry Pi 4 says."""
    profile = load_profile("raspberry-pi-4")

    def bench(path, *, threads, **_):
        row = board.measurement(path.stem, path, profile, threads, 1.0)
        milliseconds = predicted(row, profile.latency) * (1.2 if row.precision == "int8" else 1.5)
        latency = SimpleNamespace(p50_ms=SimpleNamespace(value=milliseconds))
        return SimpleNamespace(
            latency=latency, runtime="onnxruntime", runtime_version="1.31.1", environment={"cpu": "BCM2711"}
        )

    monkeypatch.setattr(board, "bench", bench)
    return profile


def test_planted_rates_are_recovered_and_the_interval_shrinks(slow_board):
    found = board.calibrate_board("raspberry-pi-4", on="host")
    assert all(ratio == pytest.approx(1, abs=0.2) for ratio in found.residuals.values())
    assert len(found.residuals) == 10
    before, after = slow_board.latency, found.profile.latency
    assert after.fp32.multiply_cycles / before.fp32.multiply_cycles == pytest.approx(1.5, rel=0.1)
    assert after.int8.other_cycles / before.int8.other_cycles == pytest.approx(1.2, rel=0.1)
    for rates, old in ((after.fp32, before.fp32), (after.int8, before.int8)):
        assert rates.high / rates.low < old.high / old.low
        assert rates.carried_from is None


def test_the_profile_is_found_by_its_name_and_says_where_it_comes_from(slow_board):
    found = board.calibrate_board("raspberry-pi-4", on="host")
    loaded = load_profile("raspberry-pi-4-calibrated")
    assert loaded == found.profile and found.file == own_profile_file(loaded.name)
    assert [one.name for one in list_own_profiles()] == [loaded.name]
    for word in ("BCM2711", "1.31.1", "on host", "dense at 1", "band: "):
        assert word in loaded.sources["latency.fp32"]
    again = board.calibrate_board("raspberry-pi-4-calibrated", on="host")
    assert again.profile.name == loaded.name


def test_the_profile_goes_where_it_is_asked_to(slow_board, tmp_path):
    board.calibrate_board("raspberry-pi-4", on="host", out=tmp_path / "mine.yml")
    assert load_profile(str(tmp_path / "mine.yml")).latency.threads == slow_board.latency.threads
    assert not own_folder().exists()
    with pytest.raises(UsageError, match=r"is a \.yaml file"):
        board.calibrate_board("raspberry-pi-4", on="host", out=tmp_path / "mine.json")


def test_own_profiles_that_are_not_sound_are_refused_and_do_not_hide_others(slow_board, caplog):
    board.calibrate_board("raspberry-pi-4", on="host")
    bad = yaml.safe_load(own_profile_file("raspberry-pi-4-calibrated").read_text())
    bad["latency"]["fp32"]["multiply_cycles"] = float("nan")
    own_profile_file("bad").write_text(yaml.safe_dump(bad))
    own_profile_file("code").write_text("name: !!python/object/apply:os.system ['true']\n")
    own_profile_file("bomb").write_text("x" * 2**19)
    for name in ("bad", "code", "bomb"):
        with pytest.raises(BadInput, match=rf"^{name}\.yaml"):
            load_profile(name)
    assert [one.name for one in list_own_profiles()] == ["raspberry-pi-4-calibrated"]
    assert len(caplog.messages) == 3


def test_a_profile_that_ships_is_not_replaced_by_an_own_one_of_its_name(slow_board):
    found = board.calibrate_board("raspberry-pi-4", on="host")
    found.file.rename(own_profile_file("raspberry-pi-4"))
    assert load_profile("raspberry-pi-4") == slow_board


def test_graphs_are_priced_as_predict_would(tmp_path):
    profile = load_profile("raspberry-pi-5")
    path = tmp_path / "dense.onnx"
    onnx.save(REFERENCE_GRAPHS["dense"](), path)
    from edgekd.latency.predictor import predict

    row = board.measurement("dense", path, profile, 4, 10.0)
    assert predicted(row, profile.latency) == pytest.approx(
        predict(onnx.load(path), profile).latency_ms.value, rel=1e-3
    )
