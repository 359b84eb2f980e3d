"""The compact net of every registered method, as ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor import methods
from nettailor.artifacts import delta
from tests.conftest import CommandLine
from tests.extras import needs
from tests.nettailor.export._files import assert_same, written
from tests.nettailor.methods.test_methods import words_for

pytestmark = [*needs("onnx", "onnxscript", "onnxruntime"), pytest.mark.slow]


@pytest.mark.parametrize("name", methods.names())
def test_the_net_of_every_method_answers_the_same(name: str, nettailor: CommandLine, digit_folder: Path) -> None:
    status, _, err = nettailor("adapt", "--data", digit_folder, "--out", "run", *words_for(name))
    assert status == 0, err
    net = delta.load("run").net
    assert_same(net, written(net, "onnx", Path(), raw=True), 3, raw=True)
