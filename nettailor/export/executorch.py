"""ExecuTorch's program (`.pte`), its kernels XNNPACK's; run by ExecuTorch's own runtime, one picture at a time.

    Exportable -> torch.export -> XNNPACK's partitioner -> file        int8: + torchao's PT2E, with XNNPACK's quantiser

It reads squares of the input's size: memory is planned for one shape.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nettailor.export._preprocessing import Preprocessed
from nettailor.export._protocol import (
    NOTES,
    Exportable,
    Format,
    Session,
    SingleFile,
    failing_plainly,
    need_packages,
    notes_from,
    notes_text,
)
from nettailor.export._quiet import quietly


class ExecutorchFormat(SingleFile):
    """Batches of one picture of the input's size."""

    name = "executorch"
    summary = "ExecuTorch's program with XNNPACK, .pte"
    suffix = ".pte"
    runtime = "executorch"
    any_size = False
    any_batch = False

    def need(self) -> None:
        need_packages(self.name, "executorch", "torchao")

    def convert(self, source: Exportable) -> _Converted:
        with failing_plainly("executorch"), quietly(native=True):
            pictures = source.calibration
            module = source.module(any_size=False) if pictures is None else _quantised(source, pictures)
            return _Converted(torch.export.export(module, (source.example(1),)))

    def open(self, path: Path, threads: int | None = None) -> Session:
        return _Session(path)


class _Converted:
    def __init__(self, program: torch.export.ExportedProgram) -> None:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        self._edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])

    def write(self, path: Path, notes: Mapping[str, Any]) -> None:
        """The metadata is what the program's constant method `nettailor` returns."""
        from executorch.exir import EdgeCompileConfig, EdgeProgramManager

        with failing_plainly("executorch"), quietly(native=True):
            program = copy.deepcopy(self._edge.exported_program())
            lowered = EdgeProgramManager(
                program, {NOTES: notes_text(notes)}, EdgeCompileConfig(_check_ir_validity=False)
            )
            path.write_bytes(lowered.to_executorch().buffer)


class _Session:
    def __init__(self, path: Path) -> None:
        with failing_plainly("executorch"), quietly(native=True):
            from executorch.runtime import Runtime

            self._program = Runtime.get().load_program(path)
            self._forward = self._program.load_method("forward")
            said = self._program.load_method(NOTES).execute([]) if NOTES in self._program.method_names else [None]
        self.notes = notes_from(said[0])

    def __call__(self, pictures: Tensor) -> Tensor:
        with failing_plainly("executorch"):
            return torch.cat([self._forward.execute([picture[None].contiguous()])[0] for picture in pictures]).clone()


def _quantised(source: Exportable, pictures: Tensor) -> nn.Module:
    """The network with weights and activations in int8; its preprocessing stays as it is."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    bare = Exportable(source.net, source.spec, raw=True)
    ready = source.module(any_size=False)
    quantiser = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    observed = prepare_pt2e(torch.export.export(bare.module(False), (bare.example(1),)).module(), quantiser)
    with torch.no_grad():
        for picture in pictures.split(1):
            observed(picture if source.raw else ready.normalised(picture))  # type: ignore[operator]
    network = convert_pt2e(observed)
    return network if source.raw else Preprocessed(network, source.spec, any_size=False)


FORMAT: Format = ExecutorchFormat()
