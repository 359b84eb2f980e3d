"""What an export leaves in `export.json` and in the model card."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Plan, TailoredNet, compact
from nettailor.artifacts import delta
from nettailor.artifacts.export_record import ExportedFile, ExportLatency, ExportRecord, Parity
from nettailor.backbones.load import load_backbone
from nettailor.errors import FileError
from nettailor.jobs import export as job

CARD = "# birds\n\nWritten by hand.\n"


def figures(path: Path, to: str = "torch", ms: float = 1.0, delta: str = "d") -> ExportedFile:
    return ExportedFile(
        file=str(path),
        task="birds",
        backbone="tiny",
        backbone_sha256="b",
        delta_sha256=delta,
        to=to,
        runtime="torch 2",
        precision="float32",
        preprocessing=True,
        any_size=True,
        any_batch=True,
        bytes=10,
        params=2,
        macs=1,
        backbone_macs=2,
        sha256="f",
        parity=Parity("test", 24, 1e-6, 1.0),
        latency=ExportLatency(ms, 2.0, ms / 2, 0.4, 0.6, 21, 1),
    )


def test_figures_of_a_file_take_the_place_of_its_older_ones(tmp_path: Path) -> None:
    record, card = tmp_path / "export.json", tmp_path / "README.md"
    card.write_text(CARD)
    for path, ms in (("a.pt2", 1.0), ("b.pt2", 2.0), ("a.pt2", 3.0)):
        done = job._record(record, tmp_path / path, card, figures(tmp_path / path, ms=ms))
        assert done.card == card
    other = tmp_path / "c.pt2"
    job._record(record, other, None, figures(other, delta="another"))
    assert [(known.file, known.latency.ms) for known in ExportRecord.read(record).files] == [
        ("a.pt2", 3.0),
        ("b.pt2", 2.0),
        ("c.pt2", 1.0),
    ]
    text = card.read_text()
    assert text.startswith(CARD)
    assert text.count("## Exported") == 1
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == ["a.pt2", "b.pt2"]
    assert "| 3.00 |" in text


def test_the_card_of_a_delta_that_can_t_be_written_is_left(tmp_path: Path) -> None:
    done = job._record(tmp_path / "export.json", tmp_path / "a.pt2", None, figures(tmp_path / "a.pt2"))
    assert done.card is None
    assert (tmp_path / "export.json").is_file()


def test_a_record_that_can_t_be_read_is_found_beforehand(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('{"format": 99}')
    with pytest.raises(FileError, match=r"export\.json"):
        job._check_record(tmp_path)


class Counting:
    """A file that counts how often it runs."""

    def __init__(self) -> None:
        self.notes: dict[str, object] = {}
        self.runs = 0

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return pictures


def test_files_take_turns() -> None:
    one, two = Counting(), Counting()
    turns = job.time_sessions({"one": one, "two": two}, torch.zeros(1), rounds=3)
    assert one.runs == two.runs == 3 + job.WARM_UP
    assert len(turns.ms["one"]) == len(turns.ms["two"]) == 3


def test_proxies_of_one_activation_stay_apart_in_a_file(tmp_path: Path, digit_folder: Path) -> None:
    backbone = load_backbone("tests.tiny:tiny_resnet", None, 16)
    net = compact(TailoredNet(backbone, 4, Plan(skips=2)).eval())
    assert "joined" in net.for_inference().code
    delta.save(net, tmp_path / "task", "digits4", [f"digit {number}" for number in range(4)])
    wish = job.ExportWish("torch", tmp_path / "net.pt2", raw=True, data=str(digit_folder))
    job.export(tmp_path, delta.load(tmp_path, backbone), wish)
    graph = torch.export.load(tmp_path / "net.pt2").graph
    called = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert any("conv2d" in name for name in called)
    assert not any("split" in name for name in called)
