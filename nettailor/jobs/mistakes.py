"""A few wrongly classified test pictures of a run, small, as data: URIs.

predictions.json -> which are wrong -> the recipe's own pictures -> thumbnails

The pictures are looked for where the run's recipe says, and nowhere else; nothing is fetched. Where they are gone, a line
says so.
"""

from __future__ import annotations

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Callable

from PIL import Image

from nettailor.artifacts.predictions import Predictions, SplitPredictions
from nettailor.artifacts.run_folder import RunFolder
from nettailor.data.images import Source, read_rgb
from nettailor.data.task import find_layout
from nettailor.errors import NettailorError
from nettailor.jobs.recipe import Recipe
from nettailor.views.html.data import MistakeData

MOST = 12  # pictures
SIDE = 112  # pixels of the longer side; smaller pictures stay as they are
LOSSLESS = 64  # pixels of the longer side up to which a picture is kept as PNG
QUALITY = 82


def wrong_pictures(
    recipe: Recipe | None, run: RunFolder, classes: list[str], say: Callable[[str], None]
) -> tuple[list[MistakeData], str]:
    """Up to `MOST` pictures of the test split that the compact net gets wrong, and a line that says why there are none.

    Pairs of classes that are confused most often come first, each of them with one picture before any has a second.

    Args:
        recipe: of the run, which names its pictures; None where the user named no run's folder.
        say: told what is wrong with pictures that can't be read.

    Raises:
        FileError: predictions.json is damaged.
    """
    if not run.predictions.is_file():
        return [], "This run wrote no predictions, so which pictures it got wrong is not known."
    said = Predictions.read(run.predictions)
    if not len(said.test.names) == len(said.test.labels) == len(said.test.compact):
        return [], "The predictions of this run are not whole."
    rows = _wrong_rows(said.test, len(said.classes))
    if not rows:
        return [], f"None: all {len(said.test.names)} test pictures are right."
    if recipe is None or said.classes != classes:
        return [], "The pictures of this run are not known."
    try:
        layout = find_layout(recipe.data, fetch=False)
        there = {name: layout.classes[label] for members in layout.splits.values() for name, label in members}
        wanted = [row for row in rows if there.get(said.test.names[row]) == classes[said.test.labels[row]]]
        if not wanted:
            raise NettailorError(f"{layout.source.where}: holds none of the wrongly classified pictures any more")
        return [_mistake(layout.source, said.test, row, classes) for row in wanted[:MOST]], ""
    except NettailorError as error:
        say(f"pictures left out: {error}")
        return [], "The pictures of this run can't be read any more, so none are shown."


def thumbnail(picture: Image.Image) -> str:
    """A small copy as a data: URI, without anything but pixels."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", small.size)
    bare.paste(small)
    kind = "png" if max(small.size) <= LOSSLESS else "jpeg"
    data = io.BytesIO()
    bare.save(data, kind, quality=QUALITY, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def _wrong_rows(test: SplitPredictions, classes: int) -> list[int]:
    """Rows that are wrong: one of each pair of classes first, the most frequent pairs before others."""
    pairs = list(zip(test.labels, test.compact, strict=True))
    wrong = [row for row, (true, given) in enumerate(pairs) if true != given and min(true, given) >= 0]
    wrong = [row for row in wrong if max(pairs[row]) < classes]
    often = Counter(pairs[row] for row in wrong)
    seen: dict[tuple[int, int], int] = defaultdict(int)
    turn = {}
    for row in wrong:
        turn[row] = seen[pairs[row]]
        seen[pairs[row]] += 1
    return sorted(wrong, key=lambda row: (turn[row], -often[pairs[row]], row))


def _mistake(source: Source, test: SplitPredictions, row: int, classes: list[str]) -> MistakeData:
    name = test.names[row]
    picture = thumbnail(read_rgb(source, name, SIDE))
    return MistakeData(name, classes[test.labels[row]], classes[test.compact[row]], picture)
