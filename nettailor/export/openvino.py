"""OpenVINO's IR (`.xml` and `.bin`); run by OpenVINO on the CPU in float32, its telemetry switched off.

    Exportable -> torch.export -> openvino.convert_model -> two files        int8: + NNCF's quantize

On processors that have bfloat16 OpenVINO computes in it unless told otherwise; what opens a file has to ask for
`INFERENCE_PRECISION_HINT: f32` to get the answers that were proven.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nettailor.export._protocol import (
    LOGITS,
    NOTES,
    PICTURES,
    Exportable,
    Format,
    Session,
    ancestors_of_first,
    failing_plainly,
    need_packages,
    notes_from,
    notes_text,
)

TELEMETRY = "openvino_telemetry"
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


class OpenvinoFormat:
    """Batch, height and width are open; weights stay in float32."""

    name = "openvino"
    summary = "OpenVINO's IR, .xml and .bin"
    suffix = ".xml"
    runtime = "openvino"
    any_size = True
    any_batch = True
    quantises = True

    def need(self) -> None:
        need_packages(self.name, "openvino", "nncf")

    def convert(self, source: Exportable) -> _Converted:
        openvino = import_openvino()
        program = source.program(any_size=True)
        with failing_plainly("openvino"):
            model = openvino.convert_model(program)
            side = source.spec.size if source.raw else -1
            model.reshape([-1, 3, side, side])
            model.inputs[0].get_tensor().set_names({PICTURES})
            model.outputs[0].get_tensor().set_names({LOGITS})
            if source.calibration is not None:
                model = _quantised(model, source.calibration)
        return _Converted(model)

    def open(self, path: Path, threads: int | None = None) -> Session:
        return _Session(path, threads)

    def files(self, path: Path) -> list[Path]:
        """Weights, then the graph that reads them."""
        return [path.with_suffix(".bin"), path]


class _Converted:
    def __init__(self, model: Any) -> None:
        self._model = model

    def write(self, path: Path, notes: Mapping[str, Any]) -> None:
        """The graph is written without its indentation."""
        openvino = import_openvino()
        self._model.set_rt_info(notes_text(notes), [NOTES])
        with failing_plainly("openvino"):
            openvino.save_model(self._model, path, compress_to_fp16=False)
            path.write_bytes(b"".join(line.lstrip(b"\t") for line in path.read_bytes().splitlines(keepends=True)))


class _Session:
    def __init__(self, path: Path, threads: int | None) -> None:
        openvino = import_openvino()
        config = FLOAT32 | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
        with failing_plainly("openvino"):
            model = openvino.Core().read_model(path)
            self._compiled = openvino.Core().compile_model(model, "CPU", config)
        self.notes = notes_from(model.get_rt_info([NOTES]).astype(str) if model.has_rt_info([NOTES]) else None)

    def __call__(self, pictures: Tensor) -> Tensor:
        with failing_plainly("openvino"):
            logits = self._compiled(pictures.contiguous().numpy())[0]
        return torch.from_numpy(logits.copy())


def import_openvino() -> Any:
    """OpenVINO, told nothing of us.

    Its packages report every import to its makers unless the user has opted out in a file of their home folder. They go on
    without where `openvino_telemetry` can't be imported, so it can't while they are. A process that had imported OpenVINO
    before has made its own choice.
    """
    with _no_telemetry():
        import openvino
    return openvino


@contextmanager
def _no_telemetry() -> Iterator[None]:
    if TELEMETRY in sys.modules:
        yield
        return
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]


def _quantised(model: Any, pictures: Tensor) -> Any:
    """Weights and activations in int8; what comes before the first convolution stays as it is."""
    with _no_telemetry():
        import nncf
    nncf.set_log_level(logging.ERROR)
    dataset = nncf.Dataset(list(pictures.split(1)), lambda picture: picture.contiguous().numpy())
    with redirect_stdout(StringIO()):  # its progress bars
        return nncf.quantize(
            model,
            dataset,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
            fast_bias_correction=False,  # slower, and nearer: nets this small lose most by a shifted mean
            ignored_scope=nncf.IgnoredScope(names=_before_first_convolution(model), validate=False),
        )


def _before_first_convolution(model: Any) -> list[str]:
    nodes = []
    for node in model.get_ordered_ops():
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        kind = node.get_type_name()
        nodes.append((node.get_friendly_name(), "Convolution" if kind == "GroupConvolution" else kind, sources))
    kept = set(ancestors_of_first(nodes, "Convolution"))
    fixed = {"Constant", "Parameter"}
    return [name for name, kind, _ in nodes if name in kept and kind not in fixed]


FORMAT: Format = OpenvinoFormat()
