"""Which picture is in which split: what the data splits is taken as it is, the rest is drawn by seed.

Layout (`nettailor.data.layout`) -> carve -> train, val, test
Layout, a run's split.json -> recorded -> the same splits as in that run
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from pathlib import Path

import torch

from nettailor.data.config import DataConfig
from nettailor.data.layout import SPLITS, Layout
from nettailor.errors import DataError, FileError, UsageError, did_you_mean
from nettailor.files import read_json

Members = list[tuple[str, int]]


def carve(layout: Layout, config: DataConfig, seed: int) -> dict[str, Members]:
    """The three splits: those that are there, and the missing ones taken from train, class by class.

    Of what is left to train on, `data.per_class` and then `data.thin` leave a part; validation and test stay.

    Raises:
        UsageError: `data.thin` names a class that is not there.
    """
    splits = dict(layout.splits)
    order = torch.Generator().manual_seed(seed)
    if config.train_limit is not None and (count := len(splits["train"])) > config.train_limit:
        splits["train"], _ = stratified(splits["train"], 1 - config.train_limit / count, config.group, order)
    for name, fraction in (("test", config.test_fraction), ("val", config.val_fraction)):
        if name not in splits:
            splits["train"], splits[name] = stratified(splits["train"], fraction, config.group, order)
    splits["train"] = thinned(splits["train"], layout.classes, config, seed)
    return {name: splits[name] for name in SPLITS}


def thinned(members: Members, classes: list[str], config: DataConfig, seed: int) -> Members:
    """The training pictures that `data.per_class` and `data.thin` leave, in their order.

    Each class has an order of its own, drawn by the seed, whose first pictures stay: a smaller number keeps some of those
    that a larger one keeps, and what is asked of one class changes no other.

    Raises:
        UsageError: a class that is not there.
    """
    for wanted in config.thin:
        if wanted not in classes:
            hint = did_you_mean(wanted, classes, f"; there are {', '.join(classes[:5])}{', ...' * (len(classes) > 5)}")
            raise UsageError(f"data.thin: there is no class {wanted!r}{hint}")
    if config.per_class is None and not config.thin:
        return members
    by_class: dict[int, list[str]] = defaultdict(list)
    for name, label in members:
        by_class[label].append(name)
    stay: set[tuple[str, int]] = set()
    for label, names in by_class.items():
        count = len(names) if config.per_class is None else min(config.per_class, len(names))
        count = max(1, round(config.thin.get(classes[label], 1.0) * count))
        order = torch.Generator().manual_seed(zlib.crc32(f"{seed} {classes[label]}".encode()))
        drawn = torch.randperm(len(names), generator=order)[:count].tolist()
        stay |= {(names[place], label) for place in drawn}
    return [member for member in members if member in stay]


def recorded(layout: Layout, path: Path, split: str) -> Members:
    """One split of a run, by what its `split.json` says: split -> class -> names.

    Raises:
        FileError: it is no such record, or its pictures or classes are not those of the data.
    """
    record = read_json(path)
    by_class = record.get(split) if isinstance(record, dict) else None
    if not isinstance(by_class, dict) or not all(isinstance(names, list) for names in by_class.values()):
        raise FileError(path, f"{split}: is no record of pictures by class; name pictures with --data")
    number = {label: index for index, label in enumerate(layout.classes)}
    there = {name: label for members in layout.splits.values() for name, label in members}
    members = [(name, number.get(label, -1)) for label, names in by_class.items() for name in names]
    for name, label in members:
        if not isinstance(name, str) or there.get(name) != label:
            raise FileError(
                path,
                f"{split}: {name!r} is not in {layout.source.where} as it was; name pictures with --data",
            )
    return members


def held_out(
    splits: dict[str, Members], wanted: tuple[str, ...], fraction: float, seed: int
) -> tuple[Members, Members, str]:
    """Pictures to learn from, those held out, and the split that these come from.

    Args:
        wanted: splits that will do, the best first; without any, a part of train is taken.
        fraction: of train, class by class.
    """
    for name in wanted:
        if name in splits:
            return splits["train"], splits[name], name
    return (*stratified(splits["train"], fraction, None, torch.Generator().manual_seed(seed)), "train")


def stratified(
    members: Members, fraction: float, pattern: str | None, order: torch.Generator
) -> tuple[Members, Members]:
    """Take `fraction` of each class away, in whole groups; at least one group of every class stays.

    A group may lie in several classes. It is taken where that brings the parts taken of them, together, nearer to
    `fraction`: where the sum of their squared errors, as parts of each class, does not grow.
    """
    group = {name: group_of(name, pattern) for name, _ in members}
    classes: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # class -> group -> pictures
    classes_of: dict[str, set[int]] = defaultdict(set)
    for name, label in members:
        classes[label][group[name]] += 1
        classes_of[group[name]].add(label)
    total = {label: sum(groups.values()) for label, groups in classes.items()}
    left = {label: len(groups) for label, groups in classes.items()}  # groups that are not taken
    away = dict.fromkeys(classes, 0)
    goes: dict[str, bool] = {}
    for _, groups in sorted(classes.items()):
        keys = list(groups)
        keys = [keys[i] for i in torch.randperm(len(keys), generator=order).tolist()]
        free = [key for key in keys if key not in goes]
        for key in free:
            size = {other: classes[other][key] for other in classes_of[key]}
            grown = sum(n * (away[c] + n / 2 - fraction * total[c]) / total[c] ** 2 for c, n in sorted(size.items()))
            last = key == free[-1] and len(free) == len(keys)
            goes[key] = not (last or grown > 0 or fraction == 0 or any(left[other] == 1 for other in size))
            if goes[key]:
                for other, n in size.items():
                    away[other] += n
                    left[other] -= 1
    stay = [(name, label) for name, label in members if not goes[group[name]]]
    taken = [(name, label) for name, label in members if goes[group[name]]]
    return sorted(stay, key=lambda m: (m[1], m[0])), sorted(taken, key=lambda m: (m[1], m[0]))


def group_of(name: str, pattern: str | None) -> str:
    """What a picture is kept together with: the pattern's first group in its file name, or in its path if it has a `/`."""
    if pattern is None:
        return name
    text = name if "/" in pattern else name.rsplit("/", 1)[-1]
    try:
        match = re.search(pattern, text)
    except re.error as error:
        raise DataError(f"data.group: {pattern!r} is no regular expression ({error})") from error
    found = None if match is None else (match.group(1) if match.groups() else match.group(0))
    return name if found is None else found
