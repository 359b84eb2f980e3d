"""Tables that end a job: one task's teacher against its compact net, and many tasks side by side."""

from __future__ import annotations

from html import escape
from pathlib import Path

from rich.markup import escape as as_text
from rich.table import Table

from blocks import Backbone
from nettailor.artifacts.board import Board
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.cost_table import CostTable, PathCost
from nettailor.artifacts.grown_record import GrownFigures
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import DropFigures, PruneFigures, Report, TeacherFigures
from nettailor.artifacts.weight_of_tasks import TasksWeight
from nettailor.backbones.summary import Summary
from nettailor.pruning.graph import BlockGraph

WIDEST_MATRIX = 15  # classes; of more than these only the pairs that are confused most often
MOST_PAIRS = 10


def report_table(report: Report) -> Table:
    """Teacher against compact net; the network alone where a method has no teacher."""
    teacher, net, backbone = report.teacher, report.compact, report.backbone
    title = f"{report.task} over {backbone.name}" + ("" if report.method == "nettailor" else f", {report.method}")
    table = Table(title=title, title_justify="left", caption_justify="left")
    own = f"{net.task_params / backbone.params:.1%} of the backbone's"
    proxies = f"and {net.proxies_kept} proxies"
    rows: list[tuple[str, str | None, str, str]]
    if teacher is None:
        rows = [
            ("test accuracy", None, f"{net.test_accuracy:.2%}", ""),
            ("M MACs", None, f"{net.macs / 1e6:.2f}", f"{net.macs / backbone.macs:.0%} of the backbone's"),
            ("parameters", None, f"{net.params:,}", f"{net.params / backbone.params:.0%} of the backbone's"),
            ("task parameters", None, f"{net.task_params:,}", own),
            ("ms per picture", None, f"{net.latency_ms:.2f}", ""),
            ("universal blocks", None, f"{net.universal_blocks_kept}", f"of {backbone.universal_blocks}"),
        ]
    else:
        points = f"{100 * (net.test_accuracy - teacher.test_accuracy):+.2f} points"
        slower = _less(net.latency_ms, teacher.latency_ms)
        rows = [
            ("test accuracy", f"{teacher.test_accuracy:.2%}", f"{net.test_accuracy:.2%}", points),
            ("M MACs", f"{teacher.macs / 1e6:.2f}", f"{net.macs / 1e6:.2f}", _less(net.macs, teacher.macs)),
            ("parameters", f"{teacher.params:,}", f"{net.params:,}", _less(net.params, teacher.params)),
            ("task parameters", f"{teacher.own_params:,}", f"{net.task_params:,}", own),
            ("ms per picture", f"{teacher.latency_ms:.2f}", f"{net.latency_ms:.2f}", slower),
            ("universal blocks", f"{backbone.universal_blocks}", f"{net.universal_blocks_kept}", proxies),
        ]
    if net.balanced_accuracy is not None:
        rows.insert(1, _balanced_row(net.balanced_accuracy, teacher))
    headings = ("", "network", "") if teacher is None else ("", teacher.called, "compact", "difference")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows:
        table.add_row(*(cell for cell in row if cell is not None))
    if report.prune is not None:
        table.caption = _what_is_known(report.prune)
    if report.grown is not None:
        table.caption = as_text("\n".join(_what_has_grown(report.grown)))
    return table


def _balanced_row(own: float, teacher: TeacherFigures | None) -> tuple[str, str | None, str, str]:
    name = "balanced accuracy"
    if teacher is None:
        return name, None, f"{own:.2%}", ""
    if teacher.balanced_accuracy is None:
        return name, "", f"{own:.2%}", ""
    points = f"{100 * (own - teacher.balanced_accuracy):+.2f} points"
    return name, f"{teacher.balanced_accuracy:.2%}", f"{own:.2%}", points


def _what_has_grown(grown: GrownFigures) -> list[str]:
    """New units, how their branches do alone, and what came before and after."""
    lines = [f"{grown.what}: {grown.new_params:,} parameters, {grown.new_macs / 1e6:.2f} M MACs"]
    if grown.passes and (alone := grown.passes[-1].alone):
        each = ", ".join(f"{name} alone {value:.2%}" for name, value in alone.items())
        lines.append(f"on validation together {grown.passes[-1].val_accuracy:.2%}, {each}")
    if (via := grown.via) is not None:
        lines.append(f"via {via.data}: {via.classes} classes, {via.val_accuracy:.2%} on validation")
    if (kept := grown.forgetting) is not None:
        before = "" if kept.accuracy_before is None else f", the backbone {kept.accuracy_before:.2%}"
        lines.append(f"on the source ({kept.data}) {kept.accuracy:.2%}{before}")
    return lines


def confusion_table(confusion: Confusion) -> Table:
    """The confusion matrix of a few classes, or the pairs of many that are confused most often."""
    classes = confusion.classes
    table = Table(title=f"{confusion.task}, compact net on test", title_justify="left")
    if len(classes) <= WIDEST_MATRIX:
        table.add_column("class \\ taken for")
        for name in classes:
            table.add_column(as_text(name), justify="right")
        for name, row in zip(classes, confusion.counts, strict=True):
            table.add_row(as_text(name), *(str(count) if count else "" for count in row))
        return table
    for heading in ("class", "taken for", "pictures", "of"):
        table.add_column(heading, justify="right" if heading in ("pictures", "of") else "left")
    sums = {name: sum(row) for name, row in zip(classes, confusion.counts, strict=True)}
    for true, given, count in confusion.most_confused(MOST_PAIRS):
        table.add_row(as_text(true), as_text(given), str(count), str(sums[true]))
    return table


def _judged_on(drop: DropFigures) -> str:
    if drop.folds:
        return f"over {drop.folds} folds of the {drop.pictures} training and validation pictures"
    return f"on the {drop.pictures} validation pictures"


def _what_is_known(prune: PruneFigures) -> str | None:
    """How much the network loses by the pictures that it was chosen by, and what those can tell."""
    lines = [] if prune.within_drop else [_none_is_within(prune)]
    if (drop := prune.drop) is not None:
        lines.append(
            f"{_judged_on(drop)} {0.0 - drop.points:+.2f} points, 95 % interval {-drop.high:+.2f} to {-drop.low:+.2f}"
        )
        if not drop.can_tell:
            lines.append(f"they are too few to tell a drop of {prune.drop_allowed} points from none")
    is_sure = prune.within_drop and (drop is None or drop.can_tell)
    if prune.how == "tolerance" and not is_sure:
        lines.append("nettailor prune RUN --drop POINTS takes a smaller one that may lose more")
    return "\n".join(lines) or None


def _none_is_within(prune: PruneFigures) -> str:
    if prune.how == "tolerance" and prune.drop is not None and prune.drop.points <= prune.drop_allowed:
        return f"none was shown to be within {prune.drop_allowed} points of the teacher; this one is by the count"
    return f"none was found within {prune.drop_allowed} points of the teacher"


def files_text(report: Report, out: Path) -> str:
    """Where the results are, a line each."""
    kib = report.compact.task_bytes / 1024
    return (
        f"delta    {out / 'task'}  ({kib:.0f} KiB beside the backbone)\n"
        f"figures  {out / 'report.json'}\n"
        f"next     nettailor show {out} --html {out / 'show.html'}    nettailor predict {out} PICTURE...    "
        f"tensorboard --logdir {out}"
    )


def summary_table(reports: list[Report], failed: dict[str, str]) -> Table:
    """One row per task."""
    table = Table(title="tasks over one backbone", title_justify="left")
    headings = ("task", "classes", "teacher", "compact", "points", "MACs left", "task params", "blocks", "proxies")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for report in reports:
        net, teacher = report.compact, report.teacher
        table.add_row(
            report.task,
            str(report.data.classes),
            "" if teacher is None else f"{teacher.test_accuracy:.2%}",
            f"{net.test_accuracy:.2%}",
            "" if teacher is None else f"{100 * (net.test_accuracy - teacher.test_accuracy):+.2f}",
            f"{1 - report.removed.macs:.0%}",
            f"{net.task_params / report.backbone.params:.1%}",
            f"{net.universal_blocks_kept}/{report.backbone.universal_blocks}",
            str(net.proxies_kept),
        )
    for name in failed:
        table.add_row(name, *["failed"] + [""] * (len(headings) - 2))
    return table


def board_table(board: Board) -> Table:
    """One row per method."""
    title = f"{board.task} over {board.backbone}: {board.classes} classes, {board.train} pictures, {board.test} to test"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("", "test accuracy", "points", "MACs %", "params %", "task params %", "passes", "seconds"):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in board.rows:
        points = f"{row.points.mean:+.2f}" + (f" ± {row.points.std:.2f}" if row.points.std else "")
        shares = (
            row.test_accuracy.percent(),
            points,
            row.macs.percent(),
            row.params.percent(),
            row.task_params.percent(),
        )
        table.add_row(row.name, *shares, f"{row.epochs.mean:.0f}", f"{row.seconds.mean:.0f}")
    table.caption = (
        f"mean and standard deviation over seeds {', '.join(map(str, board.seeds))}; parts are of the backbone's"
    )
    return table


def weight_table(board: Board) -> Table | None:
    """What tasks weigh, one row per method; None where the board does not say."""
    rows = [(row.name, row.weight) for row in board.rows if row.weight is not None]
    if not rows:
        return None
    counts = " / ".join(map(str, rows[0][1].tasks))
    table = Table(title=f"MiB of {counts} tasks", title_justify="left", caption_justify="left")
    for heading in ("", "backbone + deltas", "kept blocks + deltas", "private copies", "deltas save from"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, weight in rows:
        table.add_row(name, *weight_cells(weight))
    table.caption = (
        "kept blocks: parts of the backbone that at least one of these seeds reads; private copies: folded networks that\n"
        "share nothing; deltas save from: the fewest tasks that weigh less than private copies, with the backbone / the\n"
        "kept blocks; never: a private copy weighs no more than a delta"
    )
    return table


def weight_cells(weight: TasksWeight) -> tuple[str, str, str, str]:
    """MiB of each number of tasks: with the backbone, with kept blocks, as private copies; and from where on deltas save."""
    blocks = weight.blocks
    backbone, copies = _mebibytes(weight.backbone.bytes), _mebibytes(weight.copies)
    at = [_tasks(weight.backbone.saves_from), *([] if blocks is None else [_tasks(blocks.saves_from)])]
    first = at[0] if len(set(at)) == 1 else " / ".join(at)
    if not weight.folded:  # what is smaller than it seems is caught up with later
        copies, first = f"at most {copies}", first if first == "never" else f"at least {first}"
    return backbone, "" if blocks is None else _mebibytes(blocks.bytes), copies, first


def _mebibytes(values: list[float]) -> str:
    return " / ".join(f"{value / 2**20:.2f}" for value in values)


def _tasks(count: int | None) -> str:
    return "never" if count is None else str(count)


def summary_of_model_table(summarize: Summary) -> Table:
    """One row per part: shapes, costs, shares, and what each proxy beside a block would cost of the block."""
    head = f"{summarize.backbone} at {summarize.input_size} px: {len(summarize.parts) - 2} universal blocks, "
    head += f"{summarize.macs / 1e6:.1f} M MACs, {summarize.params / 1e6:.3f} M parameters without the classifier"
    table = Table(title=head, title_justify="left", caption_justify="left")
    for heading in ("", "module", "input", "output", "M MACs", "share", "k params", "share"):
        table.add_column(heading, justify="left" if heading in ("", "module") else "right", no_wrap=True)
    reach = max((len(part.proxies) for part in summarize.parts), default=0)
    for back in range(1, reach + 1):
        table.add_column(f"from l-{back}", justify="right")
    for part in summarize.parts:
        beside = [f"{_short(row.form)} {row.macs / max(1, part.macs):.0%}" for row in part.proxies]
        table.add_row(
            part.key,
            part.module,
            *("x".join(str(side) for side in shape) for shape in (part.input, part.output)),
            f"{part.macs / 1e6:.2f}",
            f"{part.macs_share:.1%}",
            f"{part.params / 1e3:.1f}",
            f"{part.params_share:.1%}",
            *beside,
        )
    forms = "1x1 = conv1x1, bn = bottleneck, thin = thinned"
    table.caption = f"last columns: proxies, with their MACs as a share of the block's; {forms}"
    return table


def costs_table(costs: CostTable) -> Table:
    """One row per block: its time, and each proxy's share of the block's MACs and of its time."""
    whole = costs.whole
    title = f"{costs.backbone} at {costs.input_size} px, batch {costs.batch}, {costs.device}, {costs.threads} threads"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("", "module", "M MACs", "ms", "IQR", "share"):
        table.add_column(heading, justify="left" if heading in ("", "module") else "right")
    blocks = [row for row in costs.paths if row.form == "universal"]
    beside = {block.key: [row for row in costs.paths if row.key.endswith(f"-{block.key[1:]}")] for block in blocks}
    for back in range(1, max((len(rows) for rows in beside.values()), default=0) + 1):
        table.add_column(f"from l-{back}", justify="right", no_wrap=True)
    table.add_row("", "stem", "", f"{whole.stem_ms:.3f}", "", f"{whole.stem_ms / whole.ms:.1%}")
    for block in blocks:
        figures = f"{block.macs / 1e6:.2f}", f"{block.ms:.3f}", f"{block.iqr_ms:.3f}", f"{block.ms / whole.ms:.1%}"
        table.add_row(block.key, block.name, *figures, *(_of_block(row, block) for row in beside[block.key]))
    table.add_row("", "head", "", f"{whole.head_ms:.3f}", "", f"{whole.head_ms / whole.ms:.1%}")
    table.caption = (
        f"whole network {whole.ms:.3f} ms (IQR {whole.iqr_ms:.3f}); the sum of its parts {whole.sum_of_parts_ms:.3f} ms, "
        f"{100 * (whole.sum_of_parts_ms / whole.ms - 1):+.0f} %. Last columns: proxies' share of their block's MACs, and time"
    )
    return table


def _of_block(row: PathCost, block: PathCost) -> str:
    return f"{row.macs / max(1, block.macs):.0%}, {row.ms / block.ms:.0%}"


def _short(form: str) -> str:
    return {"conv1x1": "1x1", "bottleneck": "bn", "identity": "id", "thinned": "thin"}.get(form, form.split(":")[-1])


def _less(now: float, before: float) -> str:
    return f"{100 * (now / before - 1):+.0f} %"


def front_table(front: Front) -> Table:
    """One row per network, the most costly first."""
    title = f"{front.task} over {front.backbone}: teacher {front.teacher_test_accuracy:.2%} on test"
    table = Table(title=title, title_justify="left", caption="* the chosen network", caption_justify="left")
    for heading in ("", "M MACs", "of backbone", "params", "task params", "blocks", "proxies", "val", "test", "points"):
        table.add_column(heading, justify="right")
    for point in front.points:
        table.add_row(
            "*" if point.chosen else "",
            f"{point.macs / 1e6:.2f}",
            f"{point.macs / front.backbone_macs:.0%}",
            f"{point.params:,}",
            f"{point.task_params / front.backbone_params:.1%}",
            str(point.universal_blocks),
            str(point.proxies),
            f"{point.val_accuracy:.2%}",
            f"{point.test_accuracy:.2%}",
            f"{100 * (point.test_accuracy - front.teacher_test_accuracy):+.2f}",
        )
    return table


def graph_table(graph: BlockGraph, backbone: Backbone, title: str) -> Table:
    """One row per layer: its block in the backbone, whether it is kept, and the proxies that lead into it."""
    kept = {path.target: data for path, data in graph.edges() if path.is_universal}
    table = Table(title=f"{title} over {backbone.name}: {str(graph).splitlines()[0]}", title_justify="left")
    for heading in ("layer", "block", "output", "M MACs", "gate", "proxies into it (gate)"):
        table.add_column(heading, justify="right" if heading in ("layer", "M MACs", "gate") else "left")
    for layer, (name, shape) in enumerate(zip(backbone.block_names, backbone.shapes[1:], strict=True), 1):
        own = kept.get(layer)
        into = [
            f"from x_{p.source} ({d['gate']:.2f})" for p, d in graph.edges() if not p.is_universal and p.target == layer
        ]
        table.add_row(
            str(layer),
            name if own else f"[dim]{escape(name)}[/dim]",
            " x ".join(str(side) for side in shape),
            f"{own['macs'] / 1e6:.2f}" if own else "",
            f"{own['gate']:.2f}" if own else "[dim]removed[/dim]",
            ", ".join(into),
        )
    return table
