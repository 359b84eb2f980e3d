"""Photographs in memory: scaled with their aspect, given back as they were kept, and never more than the limit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from blocks import InputSpec
from nettailor.data import photos
from nettailor.data.photos import Photos, shortest_side


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_the_shorter_side_is_scaled_and_the_aspect_is_kept() -> None:
    kept = Photos(20, "bicubic", 10**6)
    shapes = [tuple(kept.scaled(picture(*size)).shape) for size in ((80, 40), (40, 80), (16, 90), (20, 20), (21, 400))]
    assert shapes == [(20, 40, 3), (40, 20, 3), (90, 16, 3), (20, 20, 3), (381, 20, 3)], "small ones stay as they are"
    wanted = np.asarray(picture(80, 40).resize((40, 20), Image.Resampling.BICUBIC))
    assert np.array_equal(kept.scaled(picture(80, 40)).numpy(), wanted)


def test_pictures_come_back_as_they_were_kept_from_one_buffer_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "BUFFER", 2000)
    kept, sizes = Photos(20, "bilinear", 10**6), [(20, 20), (30, 20), (20, 25), (90, 20), (8, 9)]
    pixels = [kept.scaled(picture(*size)) for size in sizes]
    assert all(kept.append(each) for each in pixels)
    assert len(kept) == len(sizes)
    assert kept.bytes == sum(3 * w * h for w, h in sizes)
    for copy in (kept, pickle.loads(pickle.dumps(kept))):
        assert [copy[number].size for number in range(len(sizes))] == sizes
        for number, each in enumerate(pixels):
            assert np.array_equal(np.asarray(copy[number]), each.numpy())


def test_no_more_than_the_limit_is_kept() -> None:
    kept = Photos(4, "bilinear", 100)
    assert kept.append(torch.zeros(4, 4, 3, dtype=torch.uint8))
    assert kept.append(torch.zeros(4, 4, 3, dtype=torch.uint8))
    assert not kept.append(torch.zeros(4, 4, 3, dtype=torch.uint8))
    assert (len(kept), kept.bytes) == (2, 96)


def test_crops_are_taken_from_more_pixels_than_evaluation_resizes_to() -> None:
    spec = InputSpec(224, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.875)
    assert shortest_side(spec) == 320
    assert shortest_side(spec) > spec.size / spec.crop
