"""Peak memory of a whole adaptation against that of plain fine-tuning, each in a process of its own.

    python -m recipes.benchmarks.peak_memory

ResNet-50 of torchvision with random weights, 224 px, batch 16, on 32 + 32 + 32 random pictures, one CPU thread, defaults
elsewhere. Plain fine-tuning is the teacher's training alone. The adaptation is every stage of a run: student (warm start),
teacher, training, a round of removals chosen by measured losses and faded out, recovery; each two steps long. What is
printed is the largest resident set of each process (`ru_maxrss`) after each stage; nothing is subtracted. The second ratio
is that of what comes on top of the libraries and the backbone. More pictures to measure losses on take time, not memory:
they are looked at eleven at a time.

Expected on any machine with glibc: a ratio of at most 1.6 (measured on two cores: 4064 / 2939 MiB = 1.38, 1.56 above what
is loaded). It takes some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from blocks import Backbone
from nettailor.backbones.load import load_backbone
from nettailor.data.images import FolderSource
from nettailor.data.task import Split, Task
from nettailor.files import write_json
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.prune import prune
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from nettailor.training.finetuning import finetune
from nettailor.training.run import Run
from nettailor.training.stages import recover, tailor, train

CLASSES = 10
LARGEST_RATIO = 1.6
MIB = 2**20


@dataclass(frozen=True)
class Peaks:
    """Largest resident set so far, in bytes: with libraries and backbone loaded, and after each stage."""

    loaded: int
    stages: dict[str, int]

    @property
    def largest(self) -> int:
        """Of the whole process."""
        return max(self.stages.values())


def largest_resident() -> int:
    """Bytes of this process's largest resident set so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def random_task(pictures: int, size: int) -> Task:
    """A task of random pictures, `pictures` in each split."""
    generator = torch.Generator().manual_seed(0)

    def split() -> Split:
        images = torch.randint(256, (pictures, 3, size, size), generator=generator, dtype=torch.uint8)
        names = [str(number) for number in range(pictures)]
        return Split(FolderSource(Path()), names, torch.arange(pictures) % CLASSES, size, images)

    return Task("random", [str(label) for label in range(CLASSES)], split(), split(), split(), size)


def run_stages(which: str, backbone: Backbone, task: Task, batch: int, measured_on: int) -> Peaks:
    """Run plain fine-tuning, or every stage of an adaptation, and look at the memory after each."""
    peaks = Peaks(largest_resident(), {})

    def done(stage: str) -> None:
        peaks.stages[stage] = largest_resident()
        print(f"{which}: {stage} {peaks.stages[stage] / MIB:.0f} MiB", file=sys.stderr)

    run, settings = Run(), StudentConfig(epochs=1, batch=batch)
    if which == "adapt":
        student = tailor(backbone, task, settings, run)
        done("warm start")
    teacher = finetune(backbone, task, TeacherConfig(epochs=1, batch=batch), run)
    done("teacher")
    if which == "adapt":
        train(student, teacher, task, settings, run)
        done("student")
        one_round = PruneConfig(how="budget", budget=0.9, epochs=1, measured_on=measured_on)
        prune(student, teacher, task, one_round, settings, run)
        done("prune")
        recover(student, teacher, task, RecoverConfig(epochs=1), settings, run)
        done("recover")
    return peaks


def measure(which: str, options: argparse.Namespace) -> Peaks:
    """The peaks of one of the two in a fresh process."""
    words = [f"--{name}={getattr(options, name)}" for name in ("backbone", "size", "batch", "pictures", "threads")]
    command = [sys.executable, "-m", "recipes.benchmarks.peak_memory", *words, f"--measured-on={options.measured_on}"]
    said = subprocess.run([*command, "--only", which], check=True, stdout=subprocess.PIPE, text=True).stdout
    return Peaks(**json.loads(said.splitlines()[-1]))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure both, print, and return the ratios."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.benchmarks.peak_memory", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--backbone", default="torchvision/resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=32, help="in each split")
    parser.add_argument("--measured-on", type=int, default=2, help="pictures that losses are measured on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["plain", "adapt"], help="measure in this process, print JSON")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    if options.only:
        torch.set_num_threads(options.threads)
        backbone = load_backbone(options.backbone, input_size=options.size, untrained=True)
        task = random_task(options.pictures, options.size)
        print(json.dumps(vars(run_stages(options.only, backbone, task, options.batch, options.measured_on))))
        return {}
    found = {which: measure(which, options) for which in ("plain", "adapt")}
    for which, peaks in found.items():
        stages = "   ".join(f"{name} {peak / MIB:.0f}" for name, peak in peaks.stages.items())
        print(f"{which:<6} {peaks.largest / MIB:6.0f} MiB   loaded {peaks.loaded / MIB:.0f}   after {stages}")
    plain, adapt = found["plain"], found["adapt"]
    ratios = {
        "ratio": adapt.largest / plain.largest,
        "ratio_above_loaded": (adapt.largest - adapt.loaded) / (plain.largest - plain.loaded),
    }
    verdict = "holds" if ratios["ratio"] <= LARGEST_RATIO else "does not hold"
    print(f"ratio {ratios['ratio']:.2f} ({ratios['ratio_above_loaded']:.2f} above what is loaded): ", end="")
    print(f"at most {LARGEST_RATIO} {verdict}")
    if options.out is not None:
        settings = json.loads(json.dumps(vars(options), default=str))
        write_json(options.out, {"options": settings, "peaks": {k: vars(v) for k, v in found.items()}, **ratios})
    return ratios


if __name__ == "__main__":
    main()
