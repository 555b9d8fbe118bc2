import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.split import Split
from edgekd.errors import BadInput, UsageError
from edgekd.preprocessing import normalise
from edgekd.training import precision as precision_module
from edgekd.training.evaluate import joined, predict_outputs
from edgekd.training.plan import Plan
from edgekd.training.precision import choose_accelerator, choose_precision, repeatable, settle_precision


def test_logits_come_whole_in_order_and_leave_the_mode_alone(digits, make_net):
    net = make_net(0).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    logits = predict_outputs(net, digits.val, digits.preprocessing, batch_size=100)
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(normalise(digits.val.inputs, digits.preprocessing))).numpy()
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_first_of_several_outputs_counts_unless_all_do_and_other_things_are_refused(digits):
    class Says(nn.Module):
        def __init__(self, what):
            super().__init__()
            self.what = what

        def forward(self, inputs):
            return self.what(inputs.flatten(1)[:, :10])

    part = Split(digits.val.inputs[:5], None)
    for what in (lambda x: (x, x[:, :3]), lambda x: {"logits": x, "loss": None, "states": [x[:, :3]]}):
        assert predict_outputs(Says(what), part, digits.preprocessing).shape == (5, 10)
        both = predict_outputs(Says(what), part, digits.preprocessing, every_output=True)
        assert both.shape == (5, 13) and np.array_equal(both[:, :3], both[:, 10:])
    for what in (lambda x: x[None], lambda x: x[:2], lambda x: x.sum()):
        with pytest.raises(BadInput, match="first dimension must be the batch"):
            predict_outputs(Says(what), part, digits.preprocessing)
    for what in (lambda x: "logits", lambda x: [], lambda x: (None,)):
        with pytest.raises(BadInput, match="returns"):
            predict_outputs(Says(what), part, digits.preprocessing)


def test_outputs_are_joined_side_by_side_where_they_can_be():
    maps = torch.arange(24.0).reshape(2, 4, 3)
    wider, flat = maps.repeat(1, 1, 2), maps[:, :, 0]
    assert joined((maps,)) is maps
    assert torch.equal(joined((maps, wider)), torch.cat([maps, wider], dim=2))
    assert torch.equal(joined((maps, flat)), torch.cat([maps.reshape(2, 12), flat], dim=1))


def test_precision_follows_a_rule(monkeypatch, make_net):
    monkeypatch.setattr(precision_module, "cpu_has_bfloat16", lambda: True)
    depthwise = nn.Conv2d(4, 4, 3, groups=4)
    assert choose_precision(make_net(0), "cpu") == "bf16-mixed"
    assert choose_precision(nn.Sequential(make_net(0), depthwise), "cpu") == "32-true"
    settled = settle_precision(Plan(steps=1), depthwise, "cpu")
    assert (settled.precision, settled.teacher_precision) == ("32-true", "bf16-mixed")
    assert settle_precision(Plan(steps=1, precision="32-true"), make_net(0), "cpu").precision == "32-true"
    monkeypatch.setattr(precision_module, "cpu_has_bfloat16", lambda: False)
    assert choose_precision(make_net(0), "cpu") == "32-true"


def test_a_missing_gpu_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_accelerator("auto") == "cpu"
    with pytest.raises(UsageError, match="no CUDA"):
        choose_accelerator("cuda")


def test_repeatable_repeats_and_leaves_no_trace():
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    draws = []
    for _ in range(2):
        with repeatable(7, threads=2):
            assert torch.get_num_threads() == 2
            draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]
