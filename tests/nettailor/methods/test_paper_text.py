"""The paper's text differs from its code in one setting."""

from __future__ import annotations

from dataclasses import replace

from nettailor.jobs.recipe import Recipe


def test_it_is_the_paper_with_activations_matched_end_to_end() -> None:
    paper, text, ours = (Recipe().with_method(name) for name in ("paper", "paper_text", "nettailor"))
    assert text.student == replace(paper.student, matching="end_to_end") != paper.student
    assert (text.prune, text.recover) == (paper.prune, paper.recover)
    assert text.method.training == paper.method.training  # type: ignore[attr-defined]
    assert paper.training == text.training == ours.training, "the teacher's, which is the same for all"
