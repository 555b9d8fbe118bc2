"""A .pt2 archive from a stranger runs nothing, whatever is put into it."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgekd.errors import BadInput
from edgekd.formats.identify import identify
from edgekd.formats.pt2 import read_exported_program
from edgekd.formats.read import read_model


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None], extra: dict[str, bytes] | None = None) -> Path:
    """Copy an archive, each member through `change` (None drops it), and `extra` members under its root added."""
    out = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        root = source.namelist()[0].split("/")[0]
        for name in source.namelist():
            content = change(name.removeprefix(f"{root}/"), source.read(name))
            if content is not None:
                target.writestr(name, content)
        for name, content in (extra or {}).items():
            target.writestr(f"{root}/{name}", content)
    return out


def change_json(path: Path, member: str, edit: Callable[[Any], None]) -> Path:
    def change(name: str, content: bytes) -> bytes:
        if name != member:
            return content
        value = json.loads(content)
        edit(value)
        return json.dumps(value).encode()

    return rewrite(path, change)


def canary_bytes(file: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Canary(file), buffer)
    return buffer.getvalue()


def refused(path: Path, canary: Path | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        read_model(path)
    assert canary is None or not canary.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_canary_sings_where_torch_loads_it(small_pt2: Path, tmp_path: Path) -> None:
    """The attack is real: torch's own loader runs what is pickled as sample inputs."""
    canary = tmp_path / "canary"
    bad = rewrite(small_pt2, lambda name, data: canary_bytes(canary) if name.startswith("data/sample") else data)
    with pytest.raises(Exception):  # noqa: B017 (it fails after having run the pickle)
        torch.export.load(bad)
    assert canary.exists()


def test_pickled_sample_inputs_do_not_run(small_pt2: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bad = rewrite(small_pt2, lambda name, data: canary_bytes(canary) if name.startswith("data/sample") else data)
    assert "sample inputs" in refused(bad, canary)


@pytest.mark.parametrize("folder", ["weights", "constants"])
def test_pickled_payloads_do_not_run(small_pt2: Path, tmp_path: Path, folder: str) -> None:
    canary = tmp_path / "canary"
    prefix = {"weights": "weight_0", "constants": "tensor_0"}[folder]

    def edit(config: Any) -> None:
        entry = {"path_name": prefix, "is_param": False, "use_pickle": True, "tensor_meta": None}
        config["config"]["stem.0.weight"] = entry

    changed = change_json(small_pt2, f"data/{folder}/model_{folder}_config.json", edit)
    bad = rewrite(
        changed.rename(tmp_path / "a.pt2"),
        lambda name, data: None if name == f"data/{folder}/{prefix}" else data,
        {f"data/{folder}/{prefix}": canary_bytes(canary)},
    )
    assert "pickled" in refused(bad, canary)


@pytest.mark.parametrize("folder", ["weights", "constants"])
def test_pickled_dictionaries_of_older_archives_do_not_run(small_pt2: Path, tmp_path: Path, folder: str) -> None:
    canary = tmp_path / "canary"
    bad = rewrite(small_pt2, lambda _, data: data, {f"data/{folder}/model.pt": canary_bytes(canary)})
    assert "could run code" in refused(bad, canary)


def test_custom_objects_and_compiled_parts_are_refused(small_pt2: Path, tmp_path: Path) -> None:
    for member in ("data/constants/opaque_obj_0", "data/constants/custom_obj_0", "data/aotinductor/model/x.so", "a.so"):
        canary = tmp_path / "canary"
        bad = rewrite(small_pt2, lambda _, data: data, {member: pickle.dumps(Canary(canary))})
        assert member.split("/")[-1] in refused(bad, canary)


def test_size_expressions_are_not_evaluated(small_pt2: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    def edit(program: Any) -> None:
        graph = program["graph_module"]["graph"]
        code = f"__import__('pathlib').Path('{canary}').touch()"
        graph["tensor_values"]["image"]["sizes"][0] = {"as_expr": {"expr_str": code, "hint": None}}

    assert "size expression" in refused(change_json(small_pt2, "models/model.json", edit), canary)


@pytest.mark.parametrize(
    "target", ["torch.os.system", "torch.ops.prim.x", "torch.ops.aten.relu", "_operator.methodcaller"]
)
def test_only_plain_operators_are_called(small_pt2: Path, target: str) -> None:
    def edit(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    assert "not a plain aten operator" in refused(change_json(small_pt2, "models/model.json", edit))


def test_operators_that_open_files_are_refused(small_pt2: Path, tmp_path: Path) -> None:
    def edit(program: Any) -> None:
        node = program["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.ops.aten.from_file.default"
        arg = {"as_string": str(tmp_path / "made")}
        node["inputs"] = [{"name": "filename", "arg": arg, "kind": 1}]

    assert "'filename'" in refused(change_json(small_pt2, "models/model.json", edit), tmp_path / "made")


def test_node_names_cannot_carry_code(small_pt2: Path) -> None:
    text = "x = 1\n    import os"

    def edit(program: Any) -> None:
        node = program["graph_module"]["graph"]["nodes"][0]
        node["name"] = text

    assert "no identifier" in refused(change_json(small_pt2, "models/model.json", edit))


def test_guards_are_dropped(small_pt2: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    def edit(program: Any) -> None:
        program["guards_code"] = [f"__import__('pathlib').Path('{canary}').touch() is None"]

    program = read_exported_program(change_json(small_pt2, "models/model.json", edit)).program
    program.module()(torch.randn(1, 3, 8, 8))
    assert program._guards_code == [] and not canary.exists()


def test_input_structures_import_nothing(small_pt2: Path) -> None:
    def edit(program: Any) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        factory = {"default_factory_module": "antigravity", "default_factory_name": "fly", "dict_context": "[]"}
        tree = {"type": "collections.defaultdict", "context": factory, "children_spec": []}
        signature["in_spec"] = json.dumps([1, tree])

    assert "collections.defaultdict" in refused(change_json(small_pt2, "models/model.json", edit))


def test_members_twice_or_outside_are_refused(small_pt2: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = rewrite(small_pt2, lambda _, data: data, {"archive_format": b"pt2"})
    assert "twice" in refused(twice)
    assert "leaves the archive" in refused(rewrite(small_pt2, lambda _, data: data, {"../../etc/x": b""}))


def test_weights_that_reach_beyond_their_bytes_are_refused(small_pt2: Path) -> None:
    def edit(config: Any) -> None:
        config["config"]["head.weight"]["tensor_meta"]["sizes"][0]["as_int"] = 10**9

    assert "head.weight" in refused(change_json(small_pt2, "data/weights/model_weights_config.json", edit))


def test_a_bomb_is_refused_before_it_unfolds(small_pt2: Path) -> None:
    with zipfile.ZipFile(small_pt2, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small/extra/zeros", b"\0" * (80 * 2**20))
    assert "far more than the file holds" in refused(small_pt2)


def test_the_first_zip_layout_is_read(small_pt2: Path, tmp_path: Path) -> None:
    """torch 2.5 to 2.7 wrote four members at the top; the same program in that layout gives the same outputs."""
    program = torch.export.load(small_pt2)
    members = {"serialized_state_dict.pt": dict(program.state_dict), "serialized_constants.pt": {}}
    members["serialized_example_inputs.pt"] = program.example_inputs
    old = tmp_path / "old.pt2"
    with zipfile.ZipFile(small_pt2) as source, zipfile.ZipFile(old, "w") as target:
        target.writestr("version", "8.2")
        target.writestr("serialized_exported_program.json", source.read("small/models/model.json"))
        for name, value in members.items():
            buffer = io.BytesIO()
            torch.save(value, buffer)
            target.writestr(name, buffer.getvalue())
    images = torch.randn(3, 3, 8, 8)
    assert identify(old).layout == "pt2 archive before torch 2.8"
    assert torch.equal(read_model(old).module(images), read_model(small_pt2).module(images))


def test_a_program_for_a_gpu_comes_in_on_the_cpu(small_pt2: Path, tmp_path: Path) -> None:
    def on_gpu(name: str, data: bytes) -> bytes:
        return data.replace(b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}')

    moved = rewrite(small_pt2, on_gpu)
    assert {p.device.type for p in read_model(moved).module.parameters()} == {"cpu"}


def test_truncated_archives_get_one_sentence(small_pt2: Path) -> None:
    content = small_pt2.read_bytes()
    for share in (0.1, 0.5, 0.99):
        small_pt2.write_bytes(content[: int(len(content) * share)])
        assert "zip archive" in refused(small_pt2)
