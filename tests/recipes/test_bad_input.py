"""Bad input gets one or two plain lines that name the file or field and the remedy, and leaves nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.summary.writer.record_writer import RecordWriter

from tests.conftest import CommandLine
from tests.tiny import LINEAR, QUICK, write_digits


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for n in range(8):
            Image.new("L", (9, 9), 10 * n).save(root / name / f"{n}.png")
    return root


def test_a_missing_directory(nettailor: CommandLine) -> None:
    said = nettailor.fails("adapt", "--data", "no/such/place")
    assert "no/such/place: no such directory or zip" in said
    assert list(Path().iterdir()) == []


def test_an_empty_class_and_a_single_class(nettailor: CommandLine) -> None:
    root = folders(Path("pictures"), "cat", "dog")
    (root / "emu").mkdir()
    assert "emu: class without pictures; fill or remove it" in nettailor.fails("adapt", "--data", root)
    assert "only one class (cat)" in nettailor.fails("adapt", "--data", folders(Path("alone"), "cat"))


def test_classes_in_test_that_train_has_not(nettailor: CommandLine) -> None:
    root = folders(Path("pictures"), "train/cat", "train/dog", "test/cat", "test/emu")
    assert "test has a class 'emu' that train does not have" in nettailor.fails("adapt", "--data", root)


def test_a_truncated_jpeg_among_good_ones(nettailor: CommandLine, digit_folder: Path) -> None:
    root = Path(shutil.copytree(digit_folder, "with bad"))
    good = next((root / "train" / "digit 3").iterdir())
    jpeg = good.with_suffix(".jpg")
    Image.open(good).resize((64, 64)).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[:400])
    said = nettailor.fails("adapt", "--data", root, "--out", "run")
    assert jpeg.name in said
    assert "--skip-bad" in said
    status, out, _ = nettailor("adapt", "--data", root, "--out", "run2", "--skip-bad", *LINEAR)
    assert status == 0
    assert f"left out: {root}" in out.replace(str(Path.cwd()) + "/", "")
    assert jpeg.name in out
    assert jpeg.name in json.dumps(json.loads(Path("run2/split.json").read_text())["skipped"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["adapt", "--sed", "3"], "there is no option --sed; did you mean --seed?"),
        (["adapt", "--seed", "x"], "--seed: invalid int value: 'x'"),
        (["adapt", "--seed"], "--seed: expected one argument"),
        (["adapt", "--seed", "-1"], "seed: input should be greater than or equal to 0"),
        (["adapt", "studnet.epochs=3"], "did you mean 'student'"),
        (["adapt", "student.epochs"], "section.key=value"),
        (["adapt", "student.skips=-2"], "student.skips"),
        (["adapt", "--device", "tpu"], "machine.device"),
        (["adapt", "--recipe", "papr"], "did you mean 'paper'"),
        (["adopt"], "there is no verb 'adopt'; did you mean 'adapt'?"),
        (["eval"], "required: RUN"),
        (["recipes", "lst"], "there are ls, cat, cp, run, validate"),
        (["recipes", "cat"], "usage: nettailor recipes cat NAME"),
        (["recipes", "validate", "nowhere.yaml"], "no such file or shipped recipe"),
    ],
)
def test_wrong_use_ends_with_2(nettailor: CommandLine, words: list[str], says: str) -> None:
    assert says in nettailor.fails(*words, status=2)
    assert list(Path().iterdir()) == []


def test_a_misspelt_key_in_a_file(nettailor: CommandLine) -> None:
    Path("mine.yaml").write_text("student:\n  epoch: 3\n")
    assert "mine.yaml: student.epoch: no such key; did you mean 'epochs'?" in nettailor.fails(
        "adapt", "--recipe", "mine.yaml", status=2
    )
    assert "mine.yaml" in nettailor.fails("recipes", "validate", "mine.yaml", status=2)


def test_a_task_name_with_path_separators(nettailor: CommandLine) -> None:
    assert "'../x' is no name for a task" in nettailor.fails("adapt", "task=../x")
    assert list(Path().iterdir()) == []


def test_an_output_folder_that_holds_another_run_or_something_else(
    nettailor: CommandLine, digit_folder: Path, linear_run: Path
) -> None:
    shutil.copytree(linear_run, "run")
    before = {p: p.stat().st_mtime_ns for p in Path("run").rglob("*")}
    said = nettailor.fails("adapt", "--data", digit_folder, "--out", "run", *LINEAR, "student.epochs=2")
    assert "holds another run (with student.epochs=1); choose another --out" in said
    assert {p: p.stat().st_mtime_ns for p in Path("run").rglob("*")} == before
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("precious")
    assert "is not empty and holds no run" in nettailor.fails("adapt", "--out", "mine")
    assert [p.name for p in Path("mine").iterdir()] == ["thesis.txt"]
    Path("file").write_text("")
    assert "file" in nettailor.fails("adapt", "--out", "file")


def test_pictures_that_change_while_a_run_is_stopped(nettailor: CommandLine, digit_folder: Path) -> None:
    root = Path(shutil.copytree(digit_folder, "pictures"))
    assert nettailor("adapt", "--data", root, "--out", "run", *LINEAR)[0] == 0
    Path("run/report.json").unlink()
    next((root / "train").rglob("*.png")).unlink()
    assert "the pictures have changed" in nettailor.fails("adapt", "--data", root, "--out", "run", *LINEAR)


def test_an_output_folder_that_cannot_be_written(nettailor: CommandLine, digit_folder: Path) -> None:
    Path("file").write_text("")
    said = nettailor.fails("adapt", "--data", digit_folder, "--out", "file/run")
    assert "file/run: can't be made" in said
    assert "--out" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(nettailor: CommandLine, digit_folder: Path) -> None:
    Path("fixed").mkdir(mode=0o555)
    assert "can't be made" in nettailor.fails("adapt", "--data", digit_folder, "--out", "fixed/run")
    Path("fixed too").mkdir(mode=0o555)
    assert "can't be written" in nettailor.fails("adapt", "--data", digit_folder, "--out", "fixed too")


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_plainly_and_the_run_can_go_on(digit_folder: Path, tmp_path: Path) -> None:
    """The checkpoint is larger than the largest file that the process may write, as on a disk with no room left."""
    command = [sys.executable, "-m", "nettailor.cli", "adapt", "--data", digit_folder, "--out", "run", *QUICK]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, preexec_fn=_small_files_only
    )
    assert done.returncode == 1
    assert "teacher.safetensors: can't be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    left = [p.name for p in (tmp_path / "run").rglob("*") if p.is_file() and "events" not in p.name]
    assert sorted(left) == ["probe.safetensors", "recipe.yaml", "seconds.json", "split.json", "timeline.safetensors"]
    again = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_a_disk_that_is_full_before_the_first_event(
    nettailor: CommandLine, digit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard meets it in a thread of its own, whose traceback must not be shown."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RecordWriter, "write", full)
    said = nettailor.fails("adapt", "--data", digit_folder, "--out", "run", *QUICK)
    assert "run: can't be written (No space left on device)" in said


def test_deltas_that_are_wrong_fail_on_the_command_line(
    nettailor: CommandLine, digit_folder: Path, linear_run: Path
) -> None:
    """Every single fault is in tests/nettailor/artifacts/test_delta.py; this is the way up to the exit status."""
    shutil.copytree(linear_run, "run")
    picture = next((digit_folder / "test").rglob("*.png"))
    path = Path("run/task/task.json")
    whole = path.read_text()
    for change, says, status in (
        ({"format": 7}, "format: is 7", 2),
        ({"method": "of_tomorrow"}, "method: this nettailor has no method 'of_tomorrow'", 2),
        ({"graph": {"nodes": [], "edges": []}}, "graph", 1),
        (
            {"backbone": {"name": "resnet34_tiny", "sha256": "f" * 64, "geometry_sha256": "f" * 64}},
            "backbone.sha256",
            1,
        ),
    ):
        path.write_text(json.dumps({**json.loads(whole), **change}))
        for words in (["eval", "run"], ["predict", "run", picture], ["show", "run"]):
            said = nettailor.fails(*words, status=status)
            assert "task.json" in said
            assert says in said
    path.write_text(whole)
    tensors = Path("run/task/task.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-50])
    assert "task.safetensors" in nettailor.fails("predict", "run", picture)
    assert "holds no delta" in nettailor.fails("eval", "nowhere")


def test_predict_names_the_bad_picture_and_answers_for_the_others(
    nettailor: CommandLine, digit_folder: Path, linear_run: Path
) -> None:
    Path("bad.png").write_text("no picture")
    picture = next((digit_folder / "test").rglob("*.png"))
    status, out, err = nettailor("predict", linear_run, "bad.png", picture, "missing.png")
    assert status == 1
    assert out.count("digit") >= 1
    assert "bad.png" in err
    assert "missing.png" in err


def test_eval_on_other_classes(nettailor: CommandLine, linear_run: Path) -> None:
    said = nettailor.fails("eval", linear_run, "--data", folders(Path("other"), "cat", "dog"))
    assert "has other classes than the task (cat, " in said


def test_debug_shows_the_traceback(nettailor: CommandLine) -> None:
    status, _, said = nettailor("adapt", "--data", "no/such/place", "--debug")
    assert status == 1
    assert "Traceback" in said


def test_source_and_probe_pictures_that_will_not_do_are_refused_before_anything_is_written(
    nettailor: CommandLine, digit_folder: Path, tmp_path: Path
) -> None:
    soft = ("adapt", "--data", digit_folder, "--out", "run", "--method", "soft")
    others = write_digits(tmp_path / "others", classes=2, first=6)
    shutil.copytree(digit_folder, "copied")
    for split in ("train", "val", "test"):
        for label in range(4):
            Path("copied", split, f"digit {label}").rename(Path("copied", split, f"class {label}"))
    named = f"source.data={others}"
    for words, reason in (
        ((), "source.data: soft needs pictures of the source: class folders"),
        ((f"source.data={digit_folder}",), "is also the target, and class 'digit 0' is in both"),
        (("source.data=copied",), "source and target must have no picture in common"),
        ((named, "source.head=kept"), "has 2 classes, the classifier of resnet34_tiny 200"),
        ((named, "method.schedule=never"), "method.schedule: input should be 'linear', 'cosine'"),
        ((named, f"probe.data={others}"), "class 'digit 6' is also one of the source"),
        ((named, f"probe.data={digit_folder}"), "which trains on 4 of its 4 classes"),
        ((named, "probe.data=copied"), "is also a picture of the target"),
    ):
        assert reason in nettailor.fails(*soft, *words, status=2), words
        assert not Path("run").exists()
    assert "lwf is the method that needs none" in nettailor.fails(*soft, status=2)
    said = nettailor.fails("adapt", "--data", digit_folder, "--out", "run", "--method", "linear", named, status=2)
    assert "source.data: method linear reads no source pictures" in said
    assert not Path("run").exists()


def test_growth_on_a_head_that_neither_pools_nor_has_linear_layers(
    nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("flatnet.py").write_text(
        "from torch import nn\n\n\ndef flat():\n"
        "    layers = [part for c in (3, 8, 8) for part in (nn.Conv2d(c, 8, 3, 2, 1), nn.ReLU())]\n"
        "    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    words = ["--backbone", "flatnet:flat", "backbone.input_size=32", "--out", "run"]
    status, _, said = nettailor("adapt", "--method", "grow_width", *words)
    assert status == 2
    assert "neither pools positions nor has linear layers before its classifier" in said
    assert not Path("run").exists()
