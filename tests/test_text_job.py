"""The whole job on text: sentences in, an artifact with its tokenizer out, and the sample says the labels."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import edgekd
from edgekd.errors import BadInput
from edgekd.verification import verify

pytest.importorskip("transformers")
toy_text = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_text.py"))))

pytestmark = pytest.mark.slow

QUICK = {"target": "raspberry-pi-5", "epochs": 2, "schemes": "fp32,int8_dynamic", "runtimes": "onnxruntime"}
PLAIN = """
import torch
from torch import nn

class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.head = nn.Embedding(31, 24, padding_idx=0), nn.Linear(24, 24), nn.Linear(24, 2)

    def forward(self, ids):
        told = (ids != 0).unsqueeze(-1)
        return self.head(torch.relu(self.hidden((self.table(ids) * told).sum(1) / told.sum(1))))

def build():
    return Bag()
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sentences/, bert/ trained on them, and the tokenizer alone."""
    root = tmp_path_factory.mktemp("toy")
    torch.set_num_threads(1)
    sentences = toy_text.write_sentences(root / "sentences")
    toy_text.write_bert(root / "bert", sentences)
    toy_text.tokenizer().save(str(root / "tokenizer.json"))
    return root


def said_by_the_sample(artifact: Path, *texts: str) -> str:
    """The first line: the likeliest class, or the output."""
    words = [sys.executable, str(artifact / "samples" / "python" / "predict.py"), str(artifact), *texts]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return said.split(" ", 1)[-1]


def test_an_encoder_s_directory_becomes_an_artifact(
    toy: Path, tmp_path: Path, old_runtimes, answers_everywhere
) -> None:
    out = tmp_path / "run"
    report = edgekd.compress(toy / "bert", data=toy / "sentences", student="auto", out=out, **QUICK)
    assert report.exit_code == 0
    assert report.classes == ("negative", "positive")
    assert report.distillation is not None
    assert "layers 0, 2 of the teacher's 4" in report.distillation.origin
    assert report.models["shipped"] and report.models["shipped"].score
    assert report.models["shipped"].score.value > 0.9
    artifact = out / "artifact"
    how = json.loads((artifact / "preprocess.json").read_text())
    assert how["tokens"]["length"] == 16
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert how["tokens"]["sha256"] == manifest["files"]["tokenizer.json"]
    assert "tokenizer.json" in (artifact / "SHA256SUMS").read_text()
    assert said_by_the_sample(artifact, "a lovely, warm film") == "positive"
    assert said_by_the_sample(artifact, "the plot was DULL and grim") == "negative"
    answers_everywhere(artifact)
    assert np.load(artifact / "parity" / "input.npy").dtype == np.int64
    for version, found in old_runtimes(artifact).items():
        assert found == dict.fromkeys(("model.onnx", "model.ort", "app.onnx", "app.ort", "sample"), True), version


def test_pairs_of_which_the_order_tells(toy: Path, tmp_path: Path) -> None:
    pairs = toy_text.write_pairs(tmp_path / "pairs")
    toy_text.write_bert(tmp_path / "bert", pairs, id2label={0: "worse", 1: "better"})
    out = tmp_path / "run"
    report = edgekd.compress(tmp_path / "bert", data=tmp_path / "pairs", student="auto", out=out, **QUICK)
    assert report.exit_code == 0
    for name in ("teacher", "shipped"):
        figures = report.models[name]
        assert figures
        assert figures.score
        assert figures.score.value > 0.97  # 0.9 without token types
    artifact = out / "artifact"
    tokens = json.loads((artifact / "preprocess.json").read_text())["tokens"]
    assert (tokens["pair"], tokens["separator"], tokens["length"]) == (["sentence1", "sentence2"], 3, 32)
    good, bad = "a lovely, warm film", "the plot was DULL and grim"
    assert said_by_the_sample(artifact, good, bad) == "worse"
    assert said_by_the_sample(artifact, bad, good) == "better"
    assert "sentence1, then sentence2" in (artifact / "README.md").read_text()
    verify(artifact)


def test_a_number_told_of_pairs(toy: Path, tmp_path: Path) -> None:
    pairs = toy_text.write_pairs(tmp_path / "pairs", numbers=True)
    toy_text.write_bert(tmp_path / "bert", pairs, passes=8, id2label={0: "better"})
    out = tmp_path / "run"
    report = edgekd.compress(tmp_path / "bert", data=tmp_path / "pairs", student="none", out=out, **QUICK)
    assert report.exit_code == 0
    assert report.score_name == "R2"
    assert report.models["shipped"]
    assert report.models["shipped"].score
    assert report.models["shipped"].score.value > 0.9
    assert float(said_by_the_sample(out / "artifact", "a grim plot", "a warm plot")) > 1


def test_a_plain_module_with_its_tokenizer_beside_it(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PLAIN)
    scope: dict[str, type[nn.Module]] = {}
    exec(PLAIN, scope)
    torch.manual_seed(0)
    net = scope["Bag"]()
    rows = [line.split("\t") for line in (toy / "sentences" / "train.tsv").read_text().splitlines()]
    toy_text.train(net, [(text, int(label)) for text, label in rows], 16, passes=30)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    options = {"arch": f"{tmp_path / 'net.py'}:build", "data": toy / "sentences", **QUICK}
    with pytest.raises(BadInput, match="--tokenizer FILE"):
        edgekd.compress(tmp_path / "net.pt", out=tmp_path / "none", **options)
    out = tmp_path / "run"
    report = edgekd.compress(tmp_path / "net.pt", tokenizer=toy / "tokenizer.json", out=out, **options)
    assert report.exit_code == 0
    assert report.models["shipped"] and report.models["shipped"].score
    assert report.models["shipped"].score.value > 0.9
    assert said_by_the_sample(out / "artifact", "a lovely, warm film") == "1"
