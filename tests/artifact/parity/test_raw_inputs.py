"""Raw inputs: what an app has, which the pipeline's own functions turn into the model's inputs."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.artifact.contract import Contract, Licences, Source, contract_of
from edgekd.artifact.parity.raw_inputs import raw_inputs
from edgekd.preprocessing import Preprocessing, Tokens, normalise


def contract(how: Preprocessing) -> Contract:
    source = Source(target="raspberry-pi-4", shipped="the student")
    return contract_of(
        how, task="classification", classes=None, outputs={"logits": (2,)}, licences=Licences(), source=source
    )


def save(folder: Path, inputs: np.ndarray) -> Path:
    np.save(folder / "test_inputs.npy", inputs)
    return folder


def images(**more: object) -> Preprocessing:
    usual = {"height": 12, "width": 16, "channels": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return Preprocessing.model_validate(usual | more)


def test_images_come_in_many_sizes_and_some_as_they_are(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (8, 12, 16, 3), np.uint8)
    drawn = raw_inputs(contract(images()), save(tmp_path, stored), 64)
    assert len(drawn.raw) == 8 and drawn.inputs.shape == (8, 3, 12, 16)
    unchanged = [at for at, raw in enumerate(drawn.raw) if raw.shape == (12, 16, 3)]
    assert len(unchanged) == 2
    for at in unchanged:
        assert np.array_equal(drawn.raw[at], stored[at])
        assert np.array_equal(drawn.inputs[at], normalise(stored[at : at + 1], images())[0])
    others = [raw.shape[:2] for at, raw in enumerate(drawn.raw) if at not in unchanged]
    assert len(set(others)) == 6 and all(side % 2 for shape in others for side in shape)
    assert len({round(width / height, 1) for height, width in others}) > 2
    assert all(raw.dtype == np.uint8 for raw in drawn.raw)
    assert drawn.sizes[1] == drawn.raw[1].shape[:2]


def test_of_scenes_most_images_show_a_part(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (12, 20, 40, 3), np.uint8)
    how = contract(images(height=20, width=40)).model_copy(update={"answer": "boxes"})
    drawn = raw_inputs(how, save(tmp_path, stored), 64)
    assert np.array_equal(drawn.raw[0], stored[0])
    assert np.array_equal(drawn.raw[3], stored[3, 6:13, 12:26])
    assert np.array_equal(drawn.raw[11], stored[11, :10, :20])
    assert drawn.inputs.shape == (12, 3, 20, 40)


@pytest.mark.parametrize("more", [{"channels": 1, "mean": (0.5,), "std": (0.5,)}, {"crop": 0.8}, {}], ids=str)
def test_without_data_images_are_made_up_and_the_same_each_time(more: dict[str, object]) -> None:
    how = contract(images(**more))
    one, other = raw_inputs(how, None, 10), raw_inputs(how, None, 10)
    assert len(one.raw) == 10
    assert all(np.array_equal(a, b) for a, b in zip(one.raw, other.raw, strict=True))
    assert len({raw.tobytes() for raw in one.raw}) == 10
    assert one.inputs.shape == (10, how.channels, 12, 16)


def test_sounds_are_longer_and_shorter_than_the_model_takes(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).standard_normal((4, 100)).astype(np.float32)
    how = contract(Preprocessing(identity=True, input_shape=(100,), sample_rate=8000))
    drawn = raw_inputs(how, save(tmp_path, stored), 64)
    assert [len(raw) for raw in drawn.raw] == [100, 150, 76, 124]
    assert np.array_equal(drawn.inputs[1], stored[1])  # what stands around it is cut off
    assert np.array_equal(drawn.inputs[2], np.pad(stored[2][12:-12], 12))


def test_texts_come_without_their_padding(tmp_path: Path) -> None:
    tokens = Tokens(file="tokenizer.json", sha256="0" * 64, length=4, pad=0)
    how = contract(Preprocessing(identity=True, input_shape=(4,), dtype="int64", tokens=tokens))
    stored = np.array([[5, 6, 0, 0], [5, 0, 7, 8], [0, 0, 0, 0]])
    drawn = raw_inputs(how, save(tmp_path, stored), 64)
    assert [raw.tolist() for raw in drawn.raw] == [[5, 6], [5, 0, 7, 8], [0]]
    assert np.array_equal(drawn.inputs, stored)


def test_other_inputs_are_the_models_own(tmp_path: Path) -> None:
    how = contract(images(channels=4, mean=(0.5,) * 4, std=(0.5,) * 4))
    stored = np.random.default_rng(0).integers(0, 256, (3, 12, 16, 4), np.uint8)
    drawn = raw_inputs(how, save(tmp_path, stored), 2)
    assert how.kind == "array" and len(drawn.raw) == 2
    assert np.array_equal(np.stack(drawn.raw), normalise(stored[:2], how))
