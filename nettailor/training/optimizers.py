"""Optimisers by name, and the shapes of the learning rate's way down that do not warm up."""

from __future__ import annotations

from typing import Any

import torch

from nettailor.training.config import TrainingConfig


def make_optimizer(groups: list[dict[str, Any]], config: TrainingConfig) -> torch.optim.Optimizer:
    """An optimiser over parameter groups that hold their learning rates and weight decays."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum)
    return torch.optim.AdamW(groups)


def step_factor(config: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate's factor at one of `steps` steps where it goes down in steps: at the parts `steps_at` of them."""
    return config.step_factor ** sum(step >= part * steps for part in config.steps_at)
