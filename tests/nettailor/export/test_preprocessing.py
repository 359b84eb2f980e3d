"""The graph's own preprocessing gives what the data room gives, for every filter of Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from blocks import InputSpec
from nettailor.data.batches import normalise
from nettailor.data.images import square
from nettailor.export._preprocessing import FILTERS, Preprocessed

SIZES = [(61, 97), (97, 61), (20, 20), (33, 31), (300, 211), (7, 400)]  # width, height


def spec_of(interpolation: str, crop: float) -> InputSpec:
    return InputSpec(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), interpolation, crop)


def levels(out: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (spec.mean, spec.std))
    return (out * std + mean).round()


@pytest.mark.parametrize("crop", [1.0, 0.875])
@pytest.mark.parametrize("interpolation", [*FILTERS, "nearest"])
def test_pictures_of_any_size_are_cut_as_the_data_room_cuts_them(interpolation: str, crop: float) -> None:
    spec = spec_of(interpolation, crop)
    cut, random = Preprocessed(nn.Identity(), spec, any_size=True), np.random.default_rng(0)
    for width, height in SIZES:
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = square(Image.fromarray(pixels), 32, interpolation, crop).to(torch.float32)
        found = levels(cut(torch.from_numpy(pixels).permute(2, 0, 1)[None]), spec)[0]
        off = (found - expected).abs()
        if interpolation in (
            "box",
            "nearest",
        ):  # of two pixels that are equally near another may be taken, a row or column
            assert (off > 1).float().mean() < 0.2, (width, height)
            continue
        assert off.max() <= 1, (width, height)
        assert (off > 0).float().mean() < 0.05, (width, height)  # ties, of sides in a simple ratio


@pytest.mark.parametrize("interpolation", ["box", "nearest"])
def test_where_two_pixels_are_equally_near_it_is_the_next_one_that_is_taken(interpolation: str) -> None:
    spec = spec_of(interpolation, 1.0)
    cut = Preprocessed(nn.Identity(), spec, any_size=True)
    for width, height in SIZES:
        slope = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (height, width, 3)).copy()
        expected = square(Image.fromarray(slope), 32, interpolation, 1.0).to(torch.float32)
        found = levels(cut(torch.from_numpy(slope).permute(2, 0, 1)[None]), spec)[0]
        assert (found - expected).abs().max() <= 255 / (width - 1) + 1, (width, height)


@pytest.mark.parametrize("any_size", [True, False])
def test_a_picture_of_the_input_s_size_counts_as_cut(any_size: bool) -> None:
    spec = spec_of("bicubic", 0.875)
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    found = Preprocessed(nn.Identity(), spec, any_size)(pictures)
    torch.testing.assert_close(found, normalise(pictures, spec, torch.device("cpu")).contiguous())
