import torch
from torch import nn

from edgekd.training.weights import recalibrate_batch_norm, update_average


def test_the_average_moves_by_hand():
    average, module = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    for net, value in ((average, 1.0), (module, 5.0)):
        nn.init.constant_(net.weight, value)
        net.running_mean.fill_(10 * value)
    module.num_batches_tracked.fill_(7)
    update_average(average, module, decay=0.75)
    assert float(average.weight) == 0.75 * 1 + 0.25 * 5
    assert float(average.running_mean) == 0.75 * 10 + 0.25 * 50
    assert int(average.num_batches_tracked) == 7
    update_average(average, module, decay=0.75)
    assert float(average.weight) == 0.75 * 2 + 0.25 * 5
    assert float(module.weight) == 5


def test_batch_norm_statistics_become_the_plain_mean_over_batches():
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(3, momentum=0.1), nn.Dropout(0.5)).train()
    net[0].running_mean.fill_(100)
    batches = [torch.randn(8, 3) + shift for shift in range(4)]
    mode_of_dropout = []

    def forward(batch: int) -> None:
        mode_of_dropout.append(net[1].training)
        net(batches[batch])

    recalibrate_batch_norm(net, 4, forward)
    torch.testing.assert_close(net[0].running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(net[0].running_var, torch.stack([b.var(0) for b in batches]).mean(0))
    assert mode_of_dropout == [False] * 4
    assert net[0].momentum == 0.1 and net[0].training and net[1].training


def test_nothing_is_run_where_there_is_nothing_to_recalibrate():
    net = nn.BatchNorm1d(3)
    net.running_mean.fill_(2)
    recalibrate_batch_norm(net, 0, lambda batch: net(torch.randn(4, 3)))
    assert net.running_mean.tolist() == [2, 2, 2]
