"""The page's data as text inside a script element: it is read back as it was, and can't end the element."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettailor.views.html.data import BackboneData, FiguresData, GraphData, PageData, TaskData

PAGE = PageData(
    "1.0",
    BackboneData("tiny", 2, 1, 16, 1, (3, 16, 16), []),
    [TaskData("birds", "birds", "nettailor", 0, 3, GraphData(6, False, [], 0, 1, 1), FiguresData(1, 1, 1, 1, 4, 2))],
)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.text() | st.sampled_from(["</script>", "<!--", "]]>", "\u2028", "&amp;", "\ud800"]))
def test_no_name_can_end_the_element_or_is_changed(name: str) -> None:
    page = replace(PAGE, tasks=[replace(PAGE.tasks[0], label=name, confusion_note=name)])
    text = page.to_json()
    assert not set("<>&") & set(text)
    assert text.isascii()
    wanted = json.loads(json.dumps(asdict(page)))
    assert json.loads(text) == wanted


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(PAGE, tasks=[replace(PAGE.tasks[0], figures=FiguresData(1, 1, 1, 1, 4, 2, float("nan")))]).to_json()
