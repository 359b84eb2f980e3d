"""Whether a backbone's source classifier was trained, told from its weights alone: a file of them says nothing of it.

Cross entropy's gradients add up to zero over the classes, so training leaves the sum of a classifier's rows where it began
while the rows themselves grow, and weight decay shrinks it. Of independent random rows it stays as large as chance makes it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blocks import Backbone

RANGE = (0.3, 3.0)
"""|sum of the rows|^2 over the sum of their |.|^2: about 1 of random rows; of five trained classifiers 0.00 to 0.04."""
DEVIATIONS = 5.0
"""How far the spread of random rows' and columns' norms may be from what chance gives."""


@torch.no_grad()
def looks_random(backbone: Backbone) -> bool:
    """Whether the first source classifier's weights are what independent random numbers would be.

    Where another loss than cross entropy trained it, rows or columns of unlike length tell it from random numbers.
    """
    weight = backbone.head.get_submodule(backbone.classifier_paths[0]).weight
    assert isinstance(weight, Tensor)
    matrix = weight.flatten(1).double()
    rows, columns = matrix.shape
    squares = matrix.square()
    if float(squares.var()) == 0:
        return True  # all zeros, or all one number
    sums = float(matrix.sum(0).square().sum() / squares.sum())
    of_rows = float(squares.sum(1).var() / (columns * squares.var()))
    of_columns = float(squares.sum(0).var() / (rows * squares.var()))
    return (
        RANGE[0] < sums < RANGE[1]
        and abs(of_rows - 1) < DEVIATIONS * (2 / rows) ** 0.5
        and abs(of_columns - 1) < DEVIATIONS * (2 / columns) ** 0.5
    )
