"""What it costs to read and augment photographs: time beside the training, and memory against the number of pictures.

    python -m recipes.benchmarks.loader

speed: passes of plain fine-tuning over JPEGs of 500 px, 224 px input, batch 16, two CPU threads, EfficientNet-Lite0 with
    random weights. A pass takes its pictures unvaried from memory, as `photo` from memory, or as `photo` from files (draft
    decoding), with as many workers as a recipe starts where it sets none. In every round each of the three runs once, in an
    order drawn anew, after a pass that is not counted; what is compared is the median of the whole passes, their first
    batch, which nothing has read ahead, included.
memory: one pass of `photo` from files over 1,000 and over 10,000 pictures, each in a process of its own; the largest
    resident set of the process and of its workers, added. Pages that they share count more than once.

Expected on two cores: a pass of `photo` takes at most 1.10 of one from memory, and 10,000 pictures at most 1.2 times the
memory of 1,000. It takes some five minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from blocks import InputSpec
from nettailor.backbones.load import load_backbone
from nettailor.data.batches import epoch_generator, training_batches
from nettailor.data.config import DataConfig
from nettailor.data.loader import worker_count
from nettailor.data.task import Split, load_task
from nettailor.environment import versions
from nettailor.files import write_json
from nettailor.training.loop import parameter_groups
from recipes.benchmarks.bench_step import training_step
from recipes.benchmarks.peak_memory import MIB, largest_resident

CLASSES = 10
DIFFERENT = 40  # pictures; the others are links to them, each of which is decoded like any other
SLOWEST, LARGEST = 1.10, 1.2
STREAMED = 1e-9  # GiB, in which no picture fits
PASSES = {
    "in memory": DataConfig(augment="none"),
    "photo": DataConfig(augment="photo"),
    "photo from files": DataConfig(augment="photo", memory_gib=STREAMED),
}


def write_photographs(root: Path, count: int, longest: int) -> Path:
    """Class folders of `count` JPEGs of `longest` x 3/4 `longest` to train on, and a few to evaluate on."""
    drawn, shape = np.random.default_rng(0), (longest, longest * 3 // 4)
    for number in range(DIFFERENT):
        rough = Image.fromarray(drawn.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            shape, Image.Resampling.BICUBIC
        )
        noise = drawn.integers(-12, 13, (shape[1], shape[0], 3))
        pixels = (np.asarray(rough).astype(int) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f".{number}.jpg", quality=90)
    for split, pictures in (("train", count), ("val", CLASSES), ("test", CLASSES)):
        for number in range(pictures):
            folder = root / split / f"class {number % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:06d}.jpg").hardlink_to(root / f".{number % DIFFERENT}.jpg")
    return root


def one_pass(
    split: Split, config: DataConfig, spec: InputSpec, batch: int, number: int, use: Callable[..., Any]
) -> None:
    """Hand every batch of an epoch to `use(x, labels)`."""
    generator = epoch_generator(0, "benchmark", number)
    for x, labels, _ in training_batches(split, config, spec, batch, generator, torch.device("cpu")):
        use(x, labels)


def measure_speed(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every pass, by where its pictures come from, and ratios of medians to those in memory."""
    torch.set_num_threads(options.threads)
    backbone = load_backbone(options.backbone, input_size=options.size, untrained=True)
    spec, teacher = backbone.spec, backbone.teacher(CLASSES)
    groups = parameter_groups(list(teacher.parameters()), 1e-3, 0.02)
    now: dict[str, Any] = {}
    step = training_step(teacher, groups, lambda: cross_entropy(teacher(now["x"]), now["labels"]).backward())

    def use(x: torch.Tensor, labels: torch.Tensor) -> None:
        now.update(x=x, labels=labels)
        step()

    own = {"source": str(root), "workers": options.workers}
    configs = {name: DataConfig(**{**asdict(config), **own}) for name, config in PASSES.items()}
    splits = {name: load_task(config, spec).train for name, config in configs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in splits}
    order = random.Random(0)
    for number in range(options.rounds + 1):
        for name in order.sample(list(splits), len(splits)):
            start = time.perf_counter()
            one_pass(splits[name], configs[name], spec, options.batch, number, use)
            if number:
                seconds[name].append(time.perf_counter() - start)
    plain = statistics.median(seconds["in memory"])
    ratios = {name: statistics.median(taken) / plain for name, taken in seconds.items() if name != "in memory"}
    workers = worker_count(options.workers, splits["photo"].source)
    return {"seconds": seconds, "ratios": ratios, "workers": workers, "pictures": len(splits["photo"])}


def measure_memory(root: Path, size: int, batch: int, workers: int | None) -> dict[str, float]:
    """MiB at the peak of one streamed pass in this process: its own, and that of each of its workers."""
    config = DataConfig(source=str(root), augment="photo", memory_gib=STREAMED, workers=workers)
    spec = InputSpec(size, (0.5,) * 3, (0.5,) * 3)
    train = load_task(config, spec).train
    one_pass(train, config, spec, batch, 0, lambda x, labels: None)
    count = worker_count(workers, train.source)
    train.loader = None  # ends the workers, so that their memory is known
    unit = 1 if sys.platform == "darwin" else 1024
    each = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit if count else 0
    own = largest_resident()
    return {"pictures": len(train), "own": own / MIB, "worker": each / MIB, "all": (own + count * each) / MIB}


def memory_of(count: int, options: argparse.Namespace) -> dict[str, float]:
    """The same in a fresh process, of `count` pictures."""
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), count, options.longest)
        command = [sys.executable, "-m", "recipes.benchmarks.loader", "--root", folder]
        command += [f"--size={options.size}", f"--batch={options.memory_batch}"]
        command += [] if options.workers is None else [f"--workers={options.workers}"]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return dict(json.loads(said.splitlines()[-1]))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure both, print, and return the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.benchmarks.loader", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--backbone", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--longest", type=int, default=500, help="longer side of the photographs")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=128, help="of a pass whose time is taken")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, help="as data.workers; as many as a recipe starts if left out")
    parser.add_argument("--counts", type=int, nargs=2, default=[1000, 10000], help="pictures whose memory is compared")
    parser.add_argument("--memory-batch", type=int, default=64)
    parser.add_argument("--only", choices=["speed", "memory"])
    parser.add_argument("--root", type=Path, help="measure the memory of these pictures in this process, print JSON")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    if options.root is not None:
        found = measure_memory(options.root, options.size, options.batch, options.workers)
        print(json.dumps(found))
        return dict(found)
    result: dict[str, Any] = {"options": json.loads(json.dumps(vars(options), default=str)), "versions": versions()}
    if options.only != "memory":
        with tempfile.TemporaryDirectory() as folder:
            speed = measure_speed(write_photographs(Path(folder), options.pictures, options.longest), options)
        result["speed"] = speed
        for name, taken in speed["seconds"].items():
            print(f"{name:<17} {statistics.median(taken):7.2f} s a pass of {speed['pictures']} pictures")
        for name, ratio in speed["ratios"].items():
            print(f"{name}: {ratio:.3f} of a pass in memory, at most {SLOWEST} {_holds(ratio, SLOWEST)}")
    if options.only != "speed":
        few, many = (memory_of(count, options) for count in options.counts)
        ratio = many["all"] / few["all"]
        result["memory"] = {"few": few, "many": many, "ratio": ratio}
        for each in (few, many):
            print(
                f"{each['pictures']:>6} pictures streamed: {each['all']:.0f} MiB, {each['worker']:.0f} of them a worker"
            )
        print(f"memory: {ratio:.3f} times, at most {LARGEST} {_holds(ratio, LARGEST)}")
    if options.out is not None:
        write_json(options.out, result)
    return result


def _holds(ratio: float, most: float) -> str:
    return "holds" if ratio <= most else "does not hold"


if __name__ == "__main__":
    main()
