"""ONNX (`.onnx`), by torch's dynamo exporter; run by onnxruntime.

Exportable -> torch.export -> torch.onnx -> file        int8: + onnxruntime's static quantisation (QDQ)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
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
    SingleFile,
    ancestors_of_first,
    failing_plainly,
    need_packages,
    notes_from,
    notes_text,
)
from nettailor.export._quiet import quietly

CALIBRATED_TOGETHER = 16  # pictures


class OnnxFormat(SingleFile):
    """Opset as torch's exporter chooses it; batch, height and width are open."""

    name = "onnx"
    summary = "ONNX, .onnx; onnxruntime and others run it"
    suffix = ".onnx"
    runtime = "onnxruntime"

    def need(self) -> None:
        need_packages(self.name, "onnx", "onnxscript", "onnxruntime")

    def convert(self, source: Exportable) -> _Converted:
        import onnx

        program = source.program(any_size=True)
        with tempfile.TemporaryDirectory() as folder, failing_plainly("torch.onnx"), quietly():
            path = Path(folder) / "net.onnx"
            made = torch.onnx.export(
                program, dynamo=True, input_names=[PICTURES], output_names=[LOGITS], optimize=True, verbose=False
            )
            assert made is not None
            made.save(path, external_data=False)
            if source.calibration is not None:
                path = _quantised(path, source.calibration)
            model = onnx.load(path)
        return _Converted(model)

    def open(self, path: Path, threads: int | None = None) -> Session:
        return _Session(path, threads)


class _Converted:
    def __init__(self, model: Any) -> None:
        self._model = model
        _name_dimensions(model)
        for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
            del part.metadata_props[:]  # what the exporter noted of its own steps: half of a small file

    def write(self, path: Path, notes: Mapping[str, Any]) -> None:
        import onnx

        onnx.helper.set_model_props(self._model, {NOTES: notes_text(notes)})
        with failing_plainly("onnx"):
            path.write_bytes(self._model.SerializeToString())


class _Session:
    def __init__(self, path: Path, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        if threads is not None:
            options.intra_op_num_threads = threads
        with failing_plainly("onnxruntime"):
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.notes = notes_from(self._session.get_modelmeta().custom_metadata_map.get(NOTES))

    def __call__(self, pictures: Tensor) -> Tensor:
        with failing_plainly("onnxruntime"):
            (logits,) = self._session.run([LOGITS], {PICTURES: pictures.contiguous().numpy()})
        return torch.from_numpy(logits)


def _name_dimensions(model: Any) -> None:
    """Call the open dimensions what they are, in all of the graph: the exporter has names such as `s77`."""
    graph = model.graph
    sides = graph.input[0].type.tensor_type.shape.dim
    names = {
        side.dim_param: name
        for side, name in zip(sides, ("batch", "channels", "height", "width"), strict=True)
        if side.dim_param
    }
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param in names:
                side.dim_param = names[side.dim_param]


def _quantised(path: Path, pictures: Tensor) -> Path:
    """A copy of a model with weights and activations in int8 (QDQ); what comes before its first convolution stays."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, result = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    made_by = {output: node.name for node in graph.node for output in node.output}
    nodes = [(node.name, node.op_type, [made_by[i] for i in node.input if i in made_by]) for node in graph.node]
    quantize_static(
        prepared,
        result,
        _Reader(pictures),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=ancestors_of_first(nodes, "Conv"),
    )
    return result


class _Reader:
    """Hands pictures out, batch by batch, as onnxruntime's calibration asks for them."""

    def __init__(self, pictures: Tensor) -> None:
        self._batches: Iterator[Tensor] = iter(pictures.split(CALIBRATED_TOGETHER))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {PICTURES: batch.contiguous().numpy()}


FORMAT: Format = OnnxFormat()
