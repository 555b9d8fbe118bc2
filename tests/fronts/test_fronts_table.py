"""How fronts are written, built in a row, rebuilt from their plan, and what they are to the network behind them."""

import json

import pytest
import torch
from torch import nn

from edgekd.errors import UsageError
from edgekd.fronts.fronted import Fronted, joined, parted
from edgekd.fronts.place import Place
from edgekd.fronts.table import FRONTS, build_fronts, parse_front, rebuild_fronts


def test_values_come_in_order_and_settings_by_name():
    spec = parse_front("log_mel = 40, n_fft=512,center=false, log=db,floor=1e-8")
    assert spec.name == "log_mel"
    assert spec.options == {"bands": 40, "n_fft": 512, "center": False, "log": "db", "floor": 1e-8}
    assert parse_front("resize=16,24").options == {"height": 16, "width": 24}
    assert parse_front("channel").options == {}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("log_mol=40", "no front 'log_mol'; did you mean 'log_mel'"),
        ("", "no front ''"),
        ("log_mel", "write it like log_mel=BANDS"),
        ("log_mel=0", "bands is '0': input should be greater"),
        ("log_mel=99999999999", "bands is '99999999999'"),
        ("log_mel=40,nfft=3", "no setting 'nfft'.*did you mean 'n_fft'"),
        ("log_mel=40,hop=3,hop=4", "no setting 'hop', or twice"),
        ("log_mel=40,mel=mal", "mel is 'mal'"),
        ("resize=3", "write it like resize=HEIGHT,WIDTH"),
        ("resize=3,4,5", "too many values"),
        ("pca=x\x1b[31m", "count is 'x"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_printable_line(text, match):
    with pytest.raises(UsageError, match=match) as caught:
        parse_front(text)
    assert str(caught.value).isprintable()


def test_a_row_of_fronts_is_rebuilt_from_its_plan():
    train = torch.randn(200, 2000)
    specs = [parse_front(text) for text in ("log_mel=20", "bands=10", "channel")]
    fronts = build_fronts(specs, Place((2000,), 8000))
    again = rebuild_fronts(json.loads(json.dumps(fronts.plan)), torch.zeros(1, 2000))
    assert fronts(train[:3]).shape == (3, 1, 10, 26)
    assert torch.equal(fronts(train[:3]), again(train[:3]))


def test_a_front_is_fitted_to_what_arrives_there():
    train = torch.randn(200, 30)
    fronts = build_fronts([parse_front("pca=8"), parse_front("pca=3")], Place((30,), train=lambda: iter([train])))
    direct = build_fronts([parse_front("pca=3")], Place((30,), train=lambda: iter([train])))
    assert torch.allclose(fronts(train), direct(train), atol=1e-4)


def test_no_gradient_and_no_update_reaches_a_front():
    front = build_fronts([parse_front("pca=8")], Place((30,), train=lambda: iter([torch.randn(100, 30)])))
    before = front[0].components.clone()
    module = Fronted(front, nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 2))).train()
    optimizer = torch.optim.SGD(module.parameters(), 1.0, weight_decay=0.5)
    module(torch.randn(16, 30)).square().sum().backward()
    optimizer.step()
    assert all(name.startswith("body.") for name, _ in module.named_parameters())
    assert torch.equal(front[0].components, before)


def test_a_front_computes_in_float32_whatever_the_body_does():
    front = build_fronts([parse_front("log_mel=10")], Place((2000,), 8000))
    module, sounds = Fronted(front, nn.Identity()), torch.randn(2, 2000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = module(sounds)
    assert inside.dtype == torch.float32 and torch.equal(inside, front(sounds))


def test_joined_fronts_run_one_after_the_other():
    first = build_fronts([parse_front("log_mel=10")], Place((2000,), 8000))
    second = build_fronts([parse_front("bands=5")], Place((10, 26)))
    both, sounds = joined(first, second), torch.randn(2, 2000)
    assert torch.equal(both(sounds), second(first(sounds)))
    assert torch.equal(rebuild_fronts(both.plan, sounds)(sounds), both(sounds))
    assert joined(None, second) is second and joined(first, None) is first and joined(None, None) is None
    assert parted(Fronted(first, second)) == (first, second) and parted(second) == (None, second)


def test_every_front_is_tested_here_or_beside():
    assert set(FRONTS) == {"log_mel", "resize", "bands", "pca", "channel"}
