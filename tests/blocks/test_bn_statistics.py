"""Statistics estimated anew are the task's own."""

from __future__ import annotations

import torch

from blocks.bn_statistics import recalibrate_norms
from tests.blocks.test_warm_start import fresh, pictures


def test_statistics_are_means_over_the_batches_and_only_the_tasks_own() -> None:
    student = fresh(batch_norm="affine")
    norm = student._own_norms[0]
    seen = []
    handle = norm.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0].detach()))
    recalibrate_norms(student, pictures().split(16))
    handle.remove()
    wanted = torch.stack([batch.mean((0, 2, 3)) for batch in seen]).mean(0)
    assert torch.allclose(norm.running_mean, wanted, atol=1e-5)  # type: ignore[arg-type]
    assert norm.momentum == 0.1
    frozen = fresh(batch_norm="source")
    before = {name: tensor.clone() for name, tensor in frozen.backbone.tensors().items()}
    recalibrate_norms(frozen, pictures().split(16))
    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.backbone.tensors().items())
