"""Optimizers by name, with weight decay kept off biases and normalisation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edgekd.training.plan import Optimizer, Plan

Groups = list[dict[str, Any]]


def parameter_groups(module: nn.Module, weight_decay: float) -> Groups:
    """Return two groups: parameters with two or more dimensions decay; biases, scales and shifts do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.dim() >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.dim() < 2], "weight_decay": 0.0},
    ]


def sgd(module: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """Stochastic gradient descent with Nesterov momentum."""
    groups = parameter_groups(module, plan.weight_decay)
    return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, nesterov=plan.momentum > 0)


def adamw(module: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay; for nets with attention or without batch normalisation."""
    return torch.optim.AdamW(parameter_groups(module, plan.weight_decay), lr=plan.learning_rate)


OPTIMIZERS: dict[Optimizer, Callable[[nn.Module, Plan], torch.optim.Optimizer]] = {"sgd": sgd, "adamw": adamw}
