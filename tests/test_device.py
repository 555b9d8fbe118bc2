from pathlib import Path

import pytest
import yaml

from edgekd.device import list_profiles, load_profile, resolve
from edgekd.errors import BadInput, UsageError
from edgekd.numerics import is_arm
from edgekd.resources import data_folder


def own_profile(folder: Path, **changes: object) -> Path:
    content = yaml.safe_load((data_folder("device_profiles") / "raspberry-pi-4.yaml").read_text())
    content.update(changes)
    path = folder / "board.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_promised_devices_are_there_under_the_names_of_their_files():
    promised = {
        *("raspberry-pi-zero-2-w", "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano"),
        *("rk3588", "rk3566", "android-mid-range", "android-flagship", "intel-n100"),
        *("raspberry-pi-3b", "jetson-nano", "rk3399", "rk3568", "allwinner-h616", "amlogic-a311d"),
        *("dragonwing-q6690", "dragonwing-rb3-gen2", "dimensity-9300", "snapdragon-855", "snapdragon-888"),
    }
    profiles = list_profiles()
    assert {profile.name for profile in profiles} == promised
    assert {path.stem for path in data_folder("device_profiles").glob("*.yaml")} == promised


@pytest.mark.parametrize("profile", list_profiles(), ids=lambda profile: profile.name)
def test_profiles_agree_with_their_own_instruction_set(profile):
    dot_product = {"asimddp", "avx_vnni"} & set(profile.isa)
    assert profile.latency.level == ("dotprod" if dot_product else "neon")
    arm = any(flag.startswith("armv") for flag in profile.isa)
    assert is_arm(profile.isa) == arm
    assert "openvino" not in profile.runtimes or not arm or "fphp" in profile.isa
    assert profile.latency.threads <= profile.cores


@pytest.mark.parametrize("profile", [*list_profiles(), load_profile("host")], ids=lambda profile: profile.name)
def test_every_band_says_whether_it_rests_on_left_out_errors_or_on_judgement(profile):
    bands = {name: profile.sources[f"latency.{name}"].rpartition("band: ")[2] for name in ("fp32", "int8")}
    assert all(band.startswith(("left-out errors", "judgement")) for band in bands.values())
    measured = {(profile.name, name) for name, band in bands.items() if band.startswith("left-out errors")}
    assert measured <= {("raspberry-pi-5", "fp32"), ("android-mid-range", "int8"), ("dragonwing-q6690", "int8")}


@pytest.mark.parametrize("profile", list_profiles(), ids=lambda profile: profile.name)
def test_rates_rest_on_figures_or_name_where_they_were_carried_from(profile):
    names = {one.name for one in list_profiles()}
    for precision in ("fp32", "int8"):
        rates = getattr(profile.latency, precision)
        checked = [one for one in profile.checked if one.precision == precision]
        assert bool(checked) != bool(rates.carried_from)
        assert rates.carried_from is None or rates.carried_from in names - {profile.name}


@pytest.mark.parametrize("profile", list_profiles(), ids=lambda profile: profile.name)
def test_published_figures_lie_inside_the_band_nine_times_in_ten(profile):
    for precision in ("fp32", "int8"):
        rates = getattr(profile.latency, precision)
        checked = [one for one in profile.checked if one.precision == precision]
        inside = sum(rates.low <= 1 / (1 + one.error) <= rates.high for one in checked)
        assert inside >= 0.88 * len(checked)


def test_carried_rates_have_wider_bands_than_those_they_came_from():
    for profile in list_profiles():
        for precision in ("fp32", "int8"):
            rates = getattr(profile.latency, precision)
            if rates.carried_from:
                origin = getattr(load_profile(rates.carried_from).latency, precision)
                assert rates.high / rates.low > origin.high / origin.low


def test_raspberry_pi_is_the_5_and_says_so_with_the_alternatives():
    found = resolve("raspberry-pi")
    assert found.profile.name == "raspberry-pi-5"
    assert found.note is not None and "taken as raspberry-pi-5" in found.note
    assert found.note.endswith(
        "alternatives: raspberry-pi-3b, raspberry-pi-3b-plus, raspberry-pi-4, raspberry-pi-zero-2-w"
    )


def test_names_of_their_own_have_no_note_and_aliases_do():
    assert resolve("raspberry-pi-4").note is None
    assert resolve("Raspberry Pi 4").profile.name == "raspberry-pi-4"
    assert resolve("rpi4").note == "rpi4 is taken as raspberry-pi-4"


@pytest.mark.parametrize("name", ["raspberry-pi-3b-32-bit", "raspberry-pi-2", "armv7"])
def test_32_bit_systems_are_refused_with_the_reason(name):
    with pytest.raises(UsageError, match="32-bit system, for which ONNX Runtime publishes no library"):
        resolve(name)


def test_a_profile_needs_a_speed_for_every_thread(tmp_path):
    content = yaml.safe_load(own_profile(tmp_path).read_text())["latency"]
    content["threads"] = 5
    with pytest.raises(BadInput, match=r"board.yaml: latency: .*5 threads on 4 cores"):
        load_profile(str(own_profile(tmp_path, latency=content)))


def test_an_unknown_device_gets_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'raspberry-pi-4'"):
        resolve("rasberry-pi-4")
    with pytest.raises(UsageError, match="known: allwinner-h616"):
        resolve("zx81")


def test_a_profile_of_ones_own_is_taken_by_its_path(tmp_path):
    assert resolve(str(own_profile(tmp_path, name="my-board", memory_mib=77))).profile.memory_mib == 77
    with pytest.raises(UsageError, match=r"no device profile at '.*absent.yaml'"):
        resolve(str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_mb": 5}, r"board.yaml: there is no key 'memory_mb'.*'memory_mib'"),
        ({"cores": "four"}, r"board.yaml: cores: .*integer"),
        ({"cores": 0}, r"board.yaml: cores: .*greater than 0"),
        ({"clock_ghz": float("inf")}, r"board.yaml: clock_ghz: .*finite"),
        ({"sources": {}}, r"board.yaml: no source is given for soc, core"),
        (
            {"name": "host"},
            r"board.yaml: name: 'host' is the machine that edgekd runs on; give the device another name",
        ),
        ({"runtimes": {}}, r"board.yaml: runtimes: onnxruntime is missing; say which version"),
        ({"numerics": {"activations": "int4", "per_channel": True, "reduce_range": False}}, r"numerics.activations"),
    ],
)
def test_a_wrong_profile_is_refused_naming_file_and_key(tmp_path, changes, message):
    with pytest.raises(BadInput, match=message):
        load_profile(str(own_profile(tmp_path, **changes)))


def test_a_wrong_key_deep_inside_is_named_with_the_nearest(tmp_path):
    content = yaml.safe_load(own_profile(tmp_path).read_text())["latency"]
    content["fp32"]["multiplycycles"] = 1.0
    with pytest.raises(BadInput, match=r"'latency.fp32.multiplycycles'.*'latency.fp32.multiply_cycles'"):
        load_profile(str(own_profile(tmp_path, latency=content)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", r"board.yaml, line \d+: this is not readable YAML"),
        ("just words", r"board.yaml: a device profile is a mapping"),
        ("a: !!python/object/apply:os.system ['true']", r"board.yaml, line 1: this is not readable YAML"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, text, message):
    path = tmp_path / "board.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        load_profile(str(path))


def test_a_figure_has_the_source_of_the_nearest_record_that_holds_it():
    profile = load_profile("raspberry-pi-5")
    assert profile.source_of("latency.fp32.other_cycles") == profile.sources["latency.fp32"]
    assert profile.source_of("latency.threads") == profile.sources["latency"]
    assert profile.source_of("runtimes.onnxruntime.max_ir") == profile.sources["runtimes.onnxruntime"]
    assert profile.source_of("nothing.known") == ""


def test_the_host_is_read_from_this_machine():
    host = resolve("host").profile
    assert host.name == "host" and host.cores >= 1 and host.memory_mib > 100
    assert "onnxruntime" in host.runtimes
