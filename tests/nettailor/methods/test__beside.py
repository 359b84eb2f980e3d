"""What is measured beside the target, as it lies in a stage's memory; whole runs are in test_soft.py."""

from __future__ import annotations

from nettailor.artifacts.source_record import PassFigures
from nettailor.methods._beside import _Watch
from nettailor.training.soft import READ, Clock
from nettailor.training.source_weight import SourceWeight


def test_moments_come_back_from_the_memory_that_a_checkpoint_keeps() -> None:
    clock = Clock(SourceWeight(), steps=3, epochs=4, together=1)
    watch = _Watch(clock)
    assert watch.memory is clock.memory, "one memory is kept with the checkpoint"
    watch.take_down(0, 1.0, {"source_accuracy": 0.4})
    clock.memory[READ] = 48
    for number in (1, 2, 10):
        watch.take_down(number, 1.0 + number, {"val_accuracy": 0.5, "probe_accuracy": 0.3})
    resumed = _Watch(None, dict(watch.memory))
    assert resumed.passes(clock.weight, 4) == [
        PassFigures(0, None, 0.4, None, 1.0, 0, 1.0),
        PassFigures(1, 0.5, None, 0.3, 0.5, 48, 2.0),
        PassFigures(2, 0.5, None, 0.3, 0.0, 48, 3.0),
        PassFigures(10, 0.5, None, 0.3, 0.0, 48, 11.0),
    ], "in the order of the passes, not of their names"
    assert [moment.source_weight for moment in resumed.passes(None, 4)] == [None] * 4


def test_it_passes_steps_on_to_the_clock() -> None:
    clock = Clock(SourceWeight(), steps=4, epochs=4, together=1)
    _Watch(clock)(1.0)
    assert clock.now == 0.5
    _Watch(None)(1.0)
