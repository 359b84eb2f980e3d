"""Write docs/board.md from boards that `nettailor compare` has made: tables, pictures, raw reports, and what they show.

    nettailor compare --seeds 3 --methods "$DIGITS" --out boards/digits
    nettailor compare --seeds 3 --methods "$GTSRB" --workers 9 --data data/gtsrb.zip 'data.group=([^/]+/\\d+)_' \\
        --out boards/gtsrb
    nettailor compare --seeds 3 --methods "$OMNIGLOT" --data data/omniglot242.zip --out boards/omniglot242
    nettailor compare --seeds 3 --methods finetune,nettailor --data data/cifar10_jpeg.zip data.train_limit=4000 \\
        data.flip=true --out boards/cifar10_jpeg
    nettailor compare --methods finetune,nettailor,paper,shallow --data data/gtsrb.zip 'data.group=([^/]+/\\d+)_' \\
        --backbone cifar_resnet:resnet56 --weights cifar_resnet56.safetensors --out boards/gtsrb_resnet56
    nettailor compare --methods finetune,nettailor,paper,shallow --data data/gtsrb.zip 'data.group=([^/]+/\\d+)_' \\
        --backbone timm/mobilenetv2_100,pad_type=same --weights mobilenetv2_100_imagenet.safetensors \\
        backbone.input_size=64 backbone.mean=[0.5,0.5,0.5] backbone.std=[0.5,0.5,0.5] backbone.crop=1.0 \\
        --out boards/gtsrb_mobilenetv2
    python -m recipes.evidence.board boards --out docs          # publish boards that have just been made
    python -m recipes.evidence.board docs/board --out docs      # the page anew from the raw reports beside it

    nettailor compare --methods all --seeds 1 machine.threads=1 source.data=data/tiny_imagenet_40.zip source.crop=0.8 \\
        source.measured_on=200 --out every/digits
    python -m recipes.evidence.board every --out docs/every_method

`cifar_resnet` is tests/cifar_resnet.py on the Python path; boards over it and MobileNetV2 are those of version 0.1.0. The
committed boards ran with machine.threads=1 and these rows:

    GTSRB=finetune,nettailor,shallow+distill,blocks_per_stage+distill,finetune+90,random_weights+distill
    OMNIGLOT=$GTSRB
    DIGITS=$GTSRB,paper,paper_text,channel_pruning,shallow,blocks_per_stage

Reports say their commit: gtsrb is of d342dad, omniglot242 of 04fb67b, which differ for tasks of at most twelve classes alone,
but for `finetune+90`, which takes nothing from ours and is of earlier boards (gtsrb's ran on a GPU, an H200, torch 2.11; it
says 2c84be2-dirty, and was 4eec9e1). Seed 2 of omniglot242 ran by itself (`compare seed=2 --seeds 1`) beside the others.
cifar10_jpeg is of b439d99, its seed 2 by itself, too; the digits are of an earlier version, which recovered more networks for
12 passes in place of 36.

On the board of every method five rows were run later and by themselves, on other machines: `adapt --method batch_norm` and
`adapters` with machine.threads=1, and the three of channel pruning by their recipes there, each with a teacher trained anew.

Expected: docs/board.md, a table per folder of `boards`, and its raw reports in docs/board/FOLDER; nothing is trained.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

from nettailor.files import write_atomic, write_text
from nettailor.jobs.board_rows import OURS
from nettailor.jobs.compare import draw_board, points_of_runs
from nettailor.views.plots import Curve, draw_curves
from recipes.evidence._board_cells import FINETUNE, Cells, raw_files, read_boards
from recipes.evidence._board_page import of_one_backbone, page


def main(arguments: list[str] | None = None) -> None:
    """Copy the raw files, draw the pictures, write the page, and say where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.evidence.board", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("boards", type=Path, help="folder of the boards, made just now or published")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the page")
    options = parser.parse_args(arguments)
    found = read_boards(options.boards)
    for name, cells in found.items():
        target = options.out / "board" / name
        _copy(options.boards / name, cells.board.seeds, target)
        draw_board(cells.board, cells.fronts, target / "board.png", points_of_runs(cells.reports))
    _draw_sizes(of_one_backbone(found), options.out / "board" / "sizes.png")
    write_text(options.out / "board.md", page(found))
    print(f"{options.out / 'board.md'}: {len(found)} boards")


def _copy(source: Path, seeds: list[int], target: Path) -> None:
    """Publish board.json and the raw files; none is changed, and one that lies there already is left alone."""
    files = {target / "board.json": source / "board.json"}
    for seed in seeds:
        for method, kind, file in raw_files(source, seed):
            files[target / f"seed-{seed}" / f"{method}-{kind}"] = file
    for place, file in files.items():
        if place.resolve() != file.resolve():
            write_atomic(place, partial(_copy_file, file))


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _draw_sizes(boards: dict[str, Cells], path: Path) -> None:
    """Each task's compact net: its size against its teacher's accuracy, which says how hard the task is; a dot a seed."""
    curves = []
    for place, (name, cells) in enumerate(boards.items()):
        ours, teacher, color = cells.board.row(OURS), cells.board.row(FINETUNE), f"C{place % 10}"
        if ours is not None and teacher is not None:
            sizes = [report.compact.macs / report.backbone.macs for report in cells.ours]
            accuracies = [net.test_accuracy for net in cells.nets(FINETUNE)]
            curves.append(Curve("_", sizes, accuracies, ".", color=color))
            curves.append(Curve(name, [ours.macs.mean], [teacher.test_accuracy.mean], "o", color=color))
    title = "how much of the backbone each task keeps, at the same tolerance: means, and dots of seeds"
    draw_curves(path, title, curves, {}, "teacher's accuracy on test")


if __name__ == "__main__":
    main()
