"""The recipe: every choice of a run, in one typed tree that YAML files and `section.key=value` overrides fill.

    defaults (this file)  <-  recipe YAML  <-  section.key=value  <-  command-line options   ->  Recipe, validated

The defaults are the default recipe. A YAML with a list `tasks` stands for one recipe per entry: what stands beside the
list holds for all of them, what stands in an entry for that task alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import asdict, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nettailor.errors import UsageProblem
from nettailor.files import write_text

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Channels = tuple[float, float, float]
PositiveChannels = tuple[Positive, Positive, Positive]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclass(config=STRICT, frozen=True)
class DataChoice:
    """Which pictures, how they are split, and how training varies them."""

    source: Annotated[
        str, Field(description="digits, a directory or zip of class folders, or a torchvision data set")
    ] = "digits"
    root: Annotated[str, Field(description="where torchvision data sets are kept")] = "~/.cache/nettailor"
    val_fraction: Annotated[Fraction, Field(description="of the training pictures, where there is no val split")] = 0.15
    test_fraction: Annotated[Fraction, Field(description="of all pictures, where there is no test split")] = 0.2
    train_limit: Annotated[
        int | None,
        Field(ge=1, description="use about so many of the training pictures, drawn class by class; all if left out"),
    ] = None
    group: Annotated[
        str | None,
        Field(description="regular expression; files of a class that agree in its first group stay on one side"),
    ] = None
    skip_bad: Annotated[bool, Field(description="go on without pictures that can't be read")] = False
    shift: Annotated[Fraction, Field(description="largest random shift, as a fraction of the side")] = 0.08
    scale: Annotated[Fraction, Field(description="largest random change of size, as a fraction")] = 0.1
    rotate: Annotated[float, Field(ge=0, le=180, description="largest random rotation, in degrees")] = 8.0
    flip: Annotated[bool, Field(description="mirror half of the pictures; wrong for signs and characters")] = False
    memory_gib: Annotated[Positive, Field(description="keep decoded pictures in memory up to this size")] = 2.0


@dataclass(config=STRICT, frozen=True)
class BackboneChoice:
    """Which pretrained network."""

    name: Annotated[
        str, Field(description="resnet34_tiny, timm/NAME, torchvision/NAME or package.module:callable; ,argument=value")
    ] = "resnet34_tiny"
    weights: Annotated[
        str | None, Field(description="a local file with its weights, or a member of torchvision's weights enum")
    ] = None
    input_size: Annotated[
        int | None, Field(ge=8, description="side of the input in pixels; the backbone's own if left out")
    ] = None
    mean: Annotated[Channels | None, Field(description="of each channel; the backbone's own if left out")] = None
    std: Annotated[PositiveChannels | None, Field(description="of each channel; the backbone's own if left out")] = None
    interpolation: Annotated[
        Interpolation | None,
        Field(description="how pictures are resized; the backbone's own if left out"),
    ] = None
    crop: Annotated[
        float | None,
        Field(gt=0, le=1, description="part of the shorter side that is kept; the backbone's own if left out"),
    ] = None


@dataclass(config=STRICT, frozen=True)
class TeacherChoice:
    """Fine-tuning of a whole copy of the backbone."""

    epochs: Count = 20
    lr: Positive = 2e-3
    weight_decay: NotNegative = 0.02
    batch: Annotated[int, Field(ge=2)] = 64
    label_smoothing: Fraction = 0.0


@dataclass(config=STRICT, frozen=True)
class StudentChoice:
    """What the student is made of, and how it is trained (DESIGN section 4)."""

    skips: Annotated[int, Field(ge=0, description="how many activations back proxies reach")] = 3
    proxies: Annotated[
        str,
        Field(
            pattern=r"^\w+$|^[\w.]+:\w+$",
            description="conv1x1, bottleneck, identity, auto (by cost), or package.module:function of your own",
        ),
    ] = "auto"
    gates: Annotated[
        Literal["softmax", "independent"],
        Field(description="softmax over the paths into a layer, or independent (a sigmoid each)"),
    ] = "softmax"
    batch_norm: Annotated[
        Literal["source", "stats", "affine"],
        Field(description="what the task owns: source (nothing), stats (statistics), affine (also scale and shift)"),
    ] = "affine"
    rank: Annotated[
        int, Field(ge=0, description="of the low-rank weights that the task adds to dense convolutions; 0 for none")
    ] = 4
    warm_start: Annotated[
        int, Field(ge=0, description="pictures on which proxies are fitted to the blocks beside them; 0: random start")
    ] = 512
    epochs: Count = 20
    lr: Positive = 4e-3
    gate_lr: Annotated[Positive, Field(description="learning rate of the gates' logits")] = 0.05
    weight_decay: NotNegative = 0.02
    batch: Annotated[int, Field(ge=2)] = 64
    complexity: Annotated[
        Literal["paper", "exact"], Field(description="form of the expected complexity: exact, or the paper's")
    ] = "exact"
    complexity_weight: Annotated[NotNegative, Field(description="g1, weight of the expected complexity")] = 0.3
    matching: Annotated[
        Literal["local", "end_to_end"],
        Field(description="end_to_end, or local: each layer learns to imitate the teacher on its own"),
    ] = "end_to_end"
    matching_weight: Annotated[NotNegative, Field(description="g2, weight of the matching of activations")] = 0.3
    distill_weight: Annotated[
        NotNegative, Field(description="weight of the softened KL divergence to the teacher's answers")
    ] = 1.0
    temperature: Annotated[Positive, Field(description="of that softening")] = 4.0


@dataclass(config=STRICT, frozen=True)
class PruneChoice:
    """What is removed."""

    how: Annotated[
        Literal["tolerance", "budget", "paper"],
        Field(
            description="tolerance: in rounds, down to the drop; budget: down to a cost; paper: several amounts at once"
        ),
    ] = "tolerance"
    drop: Annotated[
        NotNegative, Field(description="points of validation accuracy that may be lost against the teacher")
    ] = 0.5
    proxies_below: Annotated[Fraction, Field(description="paper: proxies with a smaller gate are removed")] = 0.05
    remove: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(min_length=1, description="paper: numbers of universal blocks to try without"),
    ] = (2, 4, 6, 8, 10)
    budget: Annotated[
        Positive | None, Field(description="budget: part of the backbone's MACs or parameters, or milliseconds")
    ] = None
    importance: Annotated[
        Literal["measured", "gate", "taylor"],
        Field(description="what paths are chosen by: measured loss, gate, or taylor (first-order loss)"),
    ] = "measured"
    measured_on: Annotated[Count, Field(description="validation pictures on which losses are measured")] = 200
    shrink: Annotated[
        float,
        Field(gt=0, le=0.95, description="part of the paths' cost that a round leaves, about"),
    ] = 0.82
    front: Annotated[
        bool, Field(description="go on below the choice, for the whole curve of accuracy against cost")
    ] = False
    patience: Annotated[int, Field(ge=0, description="tolerance: rounds to go on after one that fell below")] = 2
    epochs: Annotated[Count, Field(description="training in each round, or for each number of removed blocks")] = 5
    fade_epochs: Annotated[
        NotNegative,
        Field(description="of these, how many a removed path takes to fade out, at most half; 0 is at once"),
    ] = 1.0
    lr: Positive = 4e-3


@dataclass(config=STRICT, frozen=True)
class RecoverChoice:
    """The last training of what is left: teacher kept, complexity off."""

    epochs: Annotated[int, Field(ge=0)] = 30
    lr: Positive = 4e-3
    leaner: Annotated[
        int,
        Field(
            ge=0,
            description="so many networks below the choice are recovered too: the leanest within the drop is taken",
        ),
    ] = 3


@dataclass(config=STRICT, frozen=True)
class MachineChoice:
    """Where and how it runs."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto, cpu, cuda or mps")] = (
        "auto"
    )
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="float32, or bfloat16 autocast while training")
    ] = "float32"
    threads: Annotated[int | None, Field(ge=1, description="CPU threads of torch; its own choice if left out")] = None


@dataclass(config=STRICT, frozen=True)
class Recipe:
    """All choices of one adaptation."""

    task: Annotated[str | None, Field(description="name of the task; the data's name if left out")] = None
    seed: Annotated[int, Field(ge=0)] = 0
    cost: Annotated[
        Literal["macs", "params", "latency"],
        Field(description="what the penalty and pruning count: macs, params, latency"),
    ] = "macs"
    cost_table: Annotated[
        str | None, Field(description="latency: a table of nettailor profile; measured anew if left out")
    ] = None
    data: DataChoice = field(default_factory=DataChoice)
    backbone: BackboneChoice = field(default_factory=BackboneChoice)
    teacher: TeacherChoice = field(default_factory=TeacherChoice)
    student: StudentChoice = field(default_factory=StudentChoice)
    prune: PruneChoice = field(default_factory=PruneChoice)
    recover: RecoverChoice = field(default_factory=RecoverChoice)
    machine: MachineChoice = field(default_factory=MachineChoice)

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values, as YAML and JSON hold it."""
        return _plain(asdict(self))

    def write(self, path: Path) -> None:
        """Write the resolved recipe; running it again repeats the run."""
        text = yaml.safe_dump(self.as_dict(), sort_keys=False)
        write_text(path, f"# Repeat this run: nettailor adapt --recipe {path}\n{text}")


def parse_recipe(tree: dict[str, Any], origin: str) -> Recipe:
    """Validate a tree of plain values.

    Args:
        origin: where the tree comes from, for messages.

    Raises:
        UsageProblem: an unknown key (with the nearest right one), a value of the wrong type or out of range.
    """
    try:
        return TypeAdapter(Recipe).validate_python(tree)
    except ValidationError as error:
        raise UsageProblem("\n".join(_explain(e, origin) for e in error.errors()[:2])) from None


def read_recipes(path: Path, overrides: dict[str, Any] | None = None) -> list[Recipe]:
    """Read a YAML file: one recipe, or one for each entry of its `tasks`; `overrides` are laid over each.

    Raises:
        UsageProblem: no such file, no valid YAML, or no valid recipe.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"{path}: can't be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path}: is no valid YAML: {' '.join(str(error).split())}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UsageProblem(f"{path}: a recipe is a mapping of sections, not a {type(tree).__name__}")
    if "tasks" not in tree:
        return [parse_recipe(merge(tree, overrides or {}), str(path))]
    entries = tree.pop("tasks")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UsageProblem(f"{path}: tasks: must be a list of recipes, each a mapping of sections")
    recipes = []
    for number, entry in enumerate(entries, 1):
        recipes.append(parse_recipe(merge(merge(tree, entry), overrides or {}), f"{path}: task {number}"))
    return recipes


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """`["student.epochs=3", ...]` as a tree.

    Raises:
        UsageProblem: a word has no `=`, or its value is no YAML.
    """
    tree: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageProblem(f"{word!r}: an override is written section.key=value, for example student.epochs=20")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageProblem(f"{name}: {text!r} is no value") from error
        for key in reversed(name.split(".")):
            value = {key: value}
        tree = merge(tree, value)
    return tree


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one tree over another, section by section."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def differences(one: Recipe, other: Recipe) -> list[str]:
    """The keys in which two recipes differ; where and how fast they run does not count."""
    mine, theirs = dict(_leaves(one.as_dict())), dict(_leaves(other.as_dict()))
    return [key for key in mine if mine[key] != theirs[key] and not key.startswith("machine.")]


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _explain(error: Any, origin: str) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        return f"{origin}: {place}: no such key{_nearest(error['loc'])}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{origin}: {place}: {message}, but it is {error['input']!r}"


def _nearest(location: tuple[Any, ...]) -> str:
    section: Any = Recipe
    for part in location[:-1]:
        section = get_type_hints(section).get(str(part), section)
    if not is_dataclass(section):
        return ""
    known = [entry.name for entry in fields(section)]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    if not close and section is Recipe:
        close = [f"{s.name}.{location[-1]}" for s in fields(Recipe) if _has(Recipe, s.name, str(location[-1]))][:1]
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def _has(recipe: type, section: str, key: str) -> bool:
    inner = get_type_hints(recipe).get(section)
    return is_dataclass(inner) and key in {entry.name for entry in fields(inner)}
