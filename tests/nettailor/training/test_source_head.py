"""Which classifier answers for source pictures: the backbone's own rows, by name or in order, or a new one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.backbones.load import load_backbone
from nettailor.data.config import DataConfig
from nettailor.data.source import SourceConfig, SourcePictures, load_source
from nettailor.data.task import Task, load_task
from nettailor.errors import UsageError
from nettailor.training import source_head as module
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.run import Run
from nettailor.training.source_head import kept_head, rows_by_name, source_accuracy, source_head

SHARED = Path(__file__).parents[4] / "shared"


@pytest.fixture
def source(task: Task) -> SourcePictures:
    """The digits as a source."""
    return SourcePictures("digits", task.classes, task.train, task.test, "test", 1.0)


def named(backbone: Backbone, *names: str) -> Backbone:
    backbone.source_classes = list(names)
    return backbone


def test_rows_are_found_by_name_all_or_some(backbone: Backbone) -> None:
    named(backbone, "emu", "Red_Panda", "cat", "dog", "e", "f", "g")
    found = rows_by_name(["cat", "red panda"], backbone)
    assert found is not None
    assert found.tolist() == [2, 1]
    assert rows_by_name(["cat", "cow"], backbone) is None
    assert rows_by_name(["Red Panda", "red_panda"], backbone) is None, "two folders for one row"


def test_networks_of_imagenet_know_its_folders(backbone: Backbone) -> None:
    backbone.name = "torchvision/resnet18"
    assert rows_by_name(["n01440764"], backbone) is None, "this one has seven classes"
    backbone.head = backbone.head_for(1000)
    found = rows_by_name(["n01443537", "n01440764", "n15075141"], backbone)
    assert found is not None
    assert found.tolist() == [1, 0, 999]
    backbone.name = "my.models:resnet"
    assert rows_by_name(["n01440764"], backbone) is None


def test_kept_rows_answer_as_the_backbone_does(backbone: Backbone, source: SourcePictures) -> None:
    named(backbone, "a", "digit 3", "digit 1", "b", "digit 0", "digit 2", "c")
    head = source_head(backbone, source, SourceConfig(), Run())
    assert (head.kind, head.told_by, head.rows.tolist()) == ("kept", "names", [4, 2, 5, 1])
    x = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(head.on(backbone)(backbone.activations(x)[-2]), backbone(x), rtol=0, atol=0)
    own = backbone.head.get_submodule(backbone.classifier_paths[0]).weight
    assert all(parameter.requires_grad for parameter in head.parameters())
    assert not any(parameter is own for parameter in head.parameters()), "a copy: the backbone stays as it is"


def test_on_another_network_it_reads_that_networks_head(backbone: Backbone) -> None:
    net = backbone.teacher(3)
    logits = kept_head(backbone).on(net)(net.activations(torch.randn(2, 3, 16, 16))[-2])
    assert logits.shape == (2, 7)


def test_accuracy_counts_the_rows_of_the_classes(backbone: Backbone, source: SourcePictures) -> None:
    split, rows = source.held_out, torch.tensor([6, 5, 4, 3])
    answers = backbone(torch.cat([x for x, _ in module.evaluation_batches(split, backbone.spec, torch.device("cpu"))]))
    wanted = float((answers.argmax(1) == rows[split.labels]).float().mean())
    assert source_accuracy(backbone, backbone.head, rows, split, Run()) == pytest.approx(wanted)


def test_unknown_names_in_order_are_its_own_if_it_is_mostly_right(
    backbone: Backbone, source: SourcePictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone.head = backbone.head_for(4)
    for value, kind in ((0.51, "kept"), (0.5, "new")):
        monkeypatch.setattr(module, "source_accuracy", lambda *_, value=value: value)
        head = source_head(backbone, source, SourceConfig(), Run())
        assert (head.kind, head.told_by) == (kind, "order" if kind == "kept" else "fitted")
    assert source_head(backbone, source, SourceConfig(head="kept"), Run()).told_by == "order"
    assert source_head(backbone, source, SourceConfig(head="new"), Run()).kind == "new"


def test_a_new_head_is_fitted_to_frozen_features_and_kept_for_later(
    backbone: Backbone, source: SourcePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(checkpoints=Checkpoints(tmp_path))
    head = source_head(backbone, source, SourceConfig(), run)
    assert (head.kind, head.rows.tolist()) == ("new", [0, 1, 2, 3])
    assert source_accuracy(backbone, head.on(backbone), head.rows, source.train, run) > 0.7
    monkeypatch.setattr(module, "fit_probe", None)
    again = source_head(backbone, source, SourceConfig(), run)
    assert all(torch.equal(*pair) for pair in zip(head.parameters(), again.parameters(), strict=True))


def test_what_can_not_be_is_refused(backbone: Backbone, source: SourcePictures) -> None:
    with pytest.raises(UsageError, match=r"source\.head: .* has 4 classes, the classifier of tiny 7"):
        source_head(backbone, source, SourceConfig(head="kept"), Run())
    backbone.classifier_paths = ["fc", "other"]
    with pytest.raises(UsageError, match="no single linear classifier to fit anew; .* or use lwf"):
        source_head(backbone, replace(source), SourceConfig(), Run())


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not on this machine")
def test_a_cifar_resnet_is_known_to_answer_for_its_own_classes_in_order() -> None:
    weights = SHARED / "weights" / "cifar_resnet20.safetensors"
    backbone = load_backbone("tests.cifar_resnet:resnet20", weights)
    config = SourceConfig(data=str(SHARED / "data" / "cifar10_jpeg.zip"))
    source = load_source(config, DataConfig(), load_task("digits", backbone.spec), backbone.spec, backbone.spec.crop)
    assert source is not None
    head = source_head(backbone, source, config, Run())
    assert (head.kind, head.told_by) == ("kept", "order")
    frozen = backbone.frozen_copy()
    found = source_accuracy(frozen, head.on(frozen), head.rows, source.held_out, Run())
    assert found == pytest.approx(0.81, abs=0.01)
