"""Refit: what a layer gave before a cut is what its proxies give after it, as nearly as least squares can."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from blocks import Path, Plan, TailoredNet
from blocks import refit as refit_module
from blocks.proxies import FORMS, Site
from blocks.refit import refit
from blocks.warm_start import warm_start
from tests import tiny


def trained(**settings: object) -> TailoredNet:
    """A student whose proxies and gates are no fresh ones."""
    torch.manual_seed(0)
    student = TailoredNet(tiny.tiny_backbone(32), 5, Plan(**({"skips": 2, "proxies": "conv1x1"} | settings)))  # type: ignore[arg-type]
    warm_start(student, lambda: [pictures()])
    with torch.no_grad():
        student.gates.logits.add_(0.5 * torch.randn_like(student.gates.logits))
    return student.eval()


def pictures(count: int = 48, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) - 0.5


def without(student: TailoredNet, *keys: str) -> list[Path]:
    assert set(keys) <= {path.key for path in student.live_paths()}
    return [path for path in student.live_paths() if path.key not in keys]


def key(path: Path) -> str:
    return f"{path.source}-{path.target}"


def before_act(student: TailoredNet, layer: int, x: torch.Tensor) -> torch.Tensor:
    """What a layer gives before its activation, from the live paths."""
    xs, gates = student.run(x).activations, student.gates().detach()
    into = [path for path in student.live_paths() if path.target == layer]
    return sum(gates[path.place] * student.module_of(path)(xs[path.source]) for path in into)  # type: ignore[return-value, misc]


@torch.no_grad()
def test_it_is_the_least_squares_change_of_all_proxies_of_a_layer() -> None:
    student, x = trained(), pictures()
    wanted = before_act(student, 3, x)
    kept = without(student, "G3")
    missing = refit(student, kept, x.split(16))
    assert student.live_paths() == kept
    xs = student.run(x).activations
    sources = [path for path in kept if path.target == 3]
    assert len(sources) == 2
    read = [student.module_of(path).resample(xs[path.source]) for path in sources]  # type: ignore[union-attr, operator]
    rows = torch.cat([part.permute(0, 2, 3, 1).flatten(0, 2).double() for part in read], 1)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    target, found = (each.permute(0, 2, 3, 1).flatten(0, 2).double() for each in (wanted, before_act(student, 3, x)))
    least = float((rows @ torch.linalg.lstsq(rows, target).solution - target).square().mean())
    error = float((found - target).square().mean())
    assert least <= error <= 1.05 * least  # the ridge costs a little
    assert missing[3] == pytest.approx(error / float((target - target.mean(0)).square().mean()), rel=0.01)


@torch.no_grad()
def test_answers_are_nearer_to_those_before_than_after_a_cut_alone_on_other_pictures_too() -> None:
    student, other = trained(), pictures(seed=2)
    wanted, state = student(other), {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    kept = without(student, "G3", "A2-4", "G5")
    student.keep(kept)
    alone = float((student(other) - wanted).norm())
    for name, tensor in student.task_tensors().items():
        tensor.copy_(state[name])
    refit(student, kept, [pictures()])
    assert float((student(other) - wanted).norm()) < 0.7 * alone


@torch.no_grad()
def test_layers_before_the_first_that_loses_a_path_and_the_backbone_stay_as_they_are() -> None:
    student = trained()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    missing = refit(student, without(student, "G3"), [pictures()])
    changed = {name for name, tensor in student.state_dict().items() if not torch.equal(tensor, before[name])}
    proxies = {
        f"{path.source}-{path.target}" for path in student.live_paths() if not path.is_universal and path.target >= 3
    }
    assert {name.split(".")[1] for name in changed if name.startswith("proxies")} == proxies
    assert all(name.startswith(("proxies", "gates.fade")) for name in changed)
    assert set(missing) == set(range(3, student.depth + 1))


@torch.no_grad()
def test_nothing_to_cut_is_nothing_to_do() -> None:
    student = trained()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert refit(student, student.live_paths(), [pictures()]) == {}
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


@torch.no_grad()
def test_rows_keep_their_norm_and_statistics_are_those_of_the_pictures() -> None:
    """Training goes on from there: in train mode a batch norm has to give what it gives in eval mode."""
    student, x = trained(), pictures()
    proxy = student.proxies["2-3"].transform
    norms = proxy[0].weight.flatten(1).norm(dim=1).clone()  # type: ignore[index, union-attr, operator]
    refit(student, without(student, "G3"), [x])
    assert torch.allclose(proxy[0].weight.flatten(1).norm(dim=1), norms, rtol=1e-4)  # type: ignore[index, union-attr, operator]
    read = student.proxies["2-3"].resample(student.run(x).activations[2])  # type: ignore[operator]
    quiet = proxy(read)  # type: ignore[operator]
    student.train()
    assert torch.allclose(proxy(read), quiet, atol=1e-3 * float(quiet.abs().max()))  # type: ignore[operator]


@torch.no_grad()
def test_of_a_bottleneck_the_last_convolution_is_fitted() -> None:
    student, x = trained(proxies="bottleneck"), pictures()
    wanted, kept = student(x), without(student, "G3")
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    student.keep(kept)
    alone = float((student(x) - wanted).norm())
    student.load_state_dict(before)
    missing = refit(student, kept, [x])
    after = student.state_dict()
    first, last = "proxies.2-3.transform.0.weight", "proxies.2-3.transform.3.weight"
    assert torch.equal(after[first], before[first])
    assert not torch.equal(after[last], before[last])
    assert 3 in missing
    assert float((student(x) - wanted).norm()) < alone


@torch.no_grad()
def test_a_proxy_that_has_no_weights_and_one_that_hardly_counts_are_left() -> None:
    student = trained(proxies="identity")
    bare = next(
        p for p in student.paths if not p.is_universal and isinstance(student.proxies[key(p)].transform, nn.Identity)
    )
    others = [path.key for path in student.live_paths() if path.target == bare.target and path != bare]
    assert bare.target not in refit(student, without(student, *others), [pictures()])
    student = trained()
    with torch.no_grad():
        student.gates.logits[2, 1] = -8.0  # of A2-3
    before = student.proxies["2-3"].transform[0].weight.clone()  # type: ignore[index, union-attr, operator]
    refit(student, without(student, "A0-2"), [pictures()])
    assert torch.equal(student.proxies["2-3"].transform[0].weight, before)  # type: ignore[index, union-attr, arg-type]


@pytest.mark.parametrize(
    ("convolution", "norm", "fits"),
    [
        ({}, {}, True),
        ({"bias": True}, {}, False),
        ({"kernel_size": 3, "padding": 1}, {}, False),
        ({"groups": 2}, {}, False),
        ({"stride": 2}, {}, False),
        ({}, {"affine": False}, False),
        ({}, {"track_running_stats": False}, False),
    ],
)
@torch.no_grad()
def test_a_users_own_form_is_fitted_where_it_ends_as_it_should_and_else_left(
    monkeypatch: pytest.MonkeyPatch, convolution: dict[str, Any], norm: dict[str, Any], fits: bool
) -> None:
    def form(site: Site) -> nn.Module:
        channels = site.target[0]
        last = nn.Conv2d(channels, channels, **({"kernel_size": 1, "bias": False} | convolution))
        first = nn.Conv2d(site.source[0], channels, 1)
        wider = [nn.Upsample(scale_factor=2)] if last.stride == (2, 2) else []
        return nn.Sequential(first, nn.ReLU(), *wider, last, nn.BatchNorm2d(channels))

    monkeypatch.setitem(FORMS, "own", form)
    student = trained(proxies="own")
    for proxy in student.proxies.values():
        proxy.transform[-1] = nn.BatchNorm2d(proxy.transform[-1].num_features, **norm).eval()  # type: ignore[operator, index, union-attr]
    assert (3 in refit(student, without(student, "G3"), [pictures()])) is fits
    assert torch.isfinite(student(pictures())).all()


@torch.no_grad()
def test_a_layer_that_nothing_arrives_at_any_more_is_passed_over() -> None:
    student = trained()
    gone = [path.key for path in student.live_paths() if path.target == 3]
    kept = without(student, *gone, "G4", "A3-4", "G5", "A3-5")
    missing = refit(student, kept, [pictures()])
    assert 3 not in missing
    assert 4 in missing
    assert torch.isfinite(student(pictures())).all()


@torch.no_grad()
def test_behind_a_shared_prefix_it_is_the_same() -> None:
    student, x = trained(shared_prefix=2), pictures()
    wanted, before = student(x), {name: tensor.clone() for name, tensor in student.state_dict().items()}
    kept = without(student, "G4")
    student.keep(kept)
    alone = float((student(x) - wanted).norm())
    student.load_state_dict(before)
    missing = refit(student, kept, x.split(16))
    assert min(missing) == 4
    assert float((student(x) - wanted).norm()) < 0.7 * alone


@torch.no_grad()
def test_layers_are_held_to_a_network_of_other_paths_where_one_is_named() -> None:
    """The blocks alone, and a proxy that is not among them comes in: what the layer gave with its block."""
    student, x = trained(skips=1), pictures()
    blocks = [path for path in student.paths if path.is_universal]
    kept = [path for path in student.paths if path.key not in ("G3", "A0-1", "A1-2", "A3-4", "A4-5", "A5-6")]
    student.keep(blocks)
    wanted, given = student(x), before_act(student, 3, x)
    student.keep(kept)
    student.proxies["2-3"].transform[0].weight.neg_()  # type: ignore[index, union-attr, operator]
    alone = float((student(x) - wanted).norm())
    for live in (student.paths, blocks):  # whatever is live before
        student.keep(live)
        missing = refit(student, kept, [x], blocks)
        assert student.live_paths() == kept
        assert min(missing) == 3
        error = (before_act(student, 3, x) - given).square().sum()
        assert missing[3] == pytest.approx(
            float(error / (given - given.mean((0, 2, 3), True)).square().sum()), rel=0.01
        )
        assert float((student(x) - wanted).norm()) < 0.7 * alone
    assert refit(student, blocks, [x], blocks) == {}
    assert student.live_paths() == blocks


def _seen_by_layer(student: TailoredNet, kept: list[Path], batches: list[torch.Tensor], held: int) -> dict[int, int]:
    """How many pictures each layer was fitted on."""
    seen: dict[int, int] = {}
    fit_layer = refit_module._fit_layer

    def counted(layer: int, cut: refit_module.Layers, wanted: list[torch.Tensor | None]) -> float | None:
        seen[layer] = sum(len(one) for one in wanted if one is not None)
        return fit_layer(layer, cut, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refit_module, "_fit_layer", counted)
        refit(student, kept, iter(batches), held=held)
    return seen


@torch.no_grad()
def test_early_layers_see_as_many_pictures_as_may_be_held_and_later_ones_more() -> None:
    student, x = trained(skips=1), pictures(24)
    start = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    kept, sizes = without(student, "G1"), [4 * math.prod(shape) for shape in student.backbone.shapes]
    windows = [2 * (sizes[layer - 1] + sizes[layer]) for layer in range(1, student.depth + 1)]
    assert windows[0] > windows[-1], "late activations are smaller here"
    for pictures_of_first in (1, 4, 8):
        student.load_state_dict(start)
        held = pictures_of_first * windows[0]
        wanted = {layer: min(24, max(1, held // max(windows[layer - 1 :]))) for layer in range(1, student.depth + 1)}
        assert _seen_by_layer(student, kept, list(x.split(1)), held) == wanted
    student.load_state_dict(start)
    by_growing = {}
    for batches, held in ((x.split(1), 24 * windows[0]), ([x], None)):
        student.load_state_dict(start)
        refit(student, kept, batches, held=held)
        by_growing[held] = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    all_at_once, together = by_growing.values()
    assert all(torch.allclose(tensor, together[name], atol=1e-5) for name, tensor in all_at_once.items())


@torch.no_grad()
def test_pictures_that_come_in_later_pass_the_layers_that_are_fitted_already() -> None:
    """The third layer is held to what it gave before the cut, on pictures of which the second has seen the first alone."""
    student, x = trained(skips=1), pictures(16)
    start = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    kept, given = without(student, "G2", "G3"), before_act(student, 3, x)
    sizes = [4 * math.prod(shape) for shape in student.backbone.shapes]
    held = 4 * 2 * (sizes[1] + sizes[2])
    seen = _seen_by_layer(student, kept, list(x.split(1)), held)
    assert (seen[2], seen[3]) == (4, 6)
    student.load_state_dict(start)
    missing = refit(student, kept, x.split(1), held=held)
    given, found = given[:6], before_act(student, 3, x[:6])
    spread = (given - given.mean((0, 2, 3), True)).square().sum()
    assert missing[3] == pytest.approx(float((found - given).square().sum() / spread), rel=1e-3)
