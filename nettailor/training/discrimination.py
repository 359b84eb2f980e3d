"""What a network still tells apart beside its task: the source's classes, and classes that nothing was trained on.

network -> frozen copy -> W_s h(source, held out)         -> source_accuracy
                       -> h(gallery), h(queries)          -> probe_accuracy: k nearest neighbours, cosine
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from blocks import Backbone
from nettailor.data.batches import evaluation_batches
from nettailor.data.probe_pictures import ProbePictures
from nettailor.data.source import SourcePictures
from nettailor.data.task import Split
from nettailor.training.neighbours import neighbour_accuracy
from nettailor.training.probe import features
from nettailor.training.run import Run
from nettailor.training.source_head import SourceHead, source_accuracy

SOURCE, PROBE = "source_accuracy", "probe_accuracy"


@dataclass
class Discrimination:
    """Measures networks; with neither source nor probe pictures it finds nothing.

    Args:
        head: whose classifiers answer for the source.
        measured_on: held-out source pictures that are looked at, unless all are wanted.
        neighbours: that vote in the probe.
    """

    run: Run
    source: SourcePictures | None = None
    head: SourceHead | None = None
    probe: ProbePictures | None = None
    measured_on: int = 1000
    neighbours: int = 5
    _some: Split | None = field(default=None, init=False, repr=False)

    def __call__(self, net: Backbone, whole: bool = False) -> dict[str, float]:
        """Accuracies by name, of the network as it is in eval mode; it is left as it is.

        Args:
            whole: measure the source on all of its held-out pictures.
        """
        return {**self.of_source(net, whole), **self.of_probe(net)}

    def of_source(self, net: Backbone, whole: bool = False) -> dict[str, float]:
        """The source's part of it."""
        if self.source is None or self.head is None:
            return {}
        frozen, split = net.frozen_copy(), self.source.held_out if whole else self._sample(self.source)
        return {SOURCE: source_accuracy(frozen, self.head.on(frozen), self.head.rows, split, self.run)}

    def of_probe(self, net: Backbone) -> dict[str, float]:
        """The probe's part of it."""
        if self.probe is None:
            return {}
        frozen, gallery, queries = net.frozen_copy(), self.probe.gallery, self.probe.queries
        known, asked = (representations(frozen, split, self.run) for split in (gallery, queries))
        return {PROBE: neighbour_accuracy(known, gallery.labels, asked, queries.labels, self.neighbours)}

    def _sample(self, source: SourcePictures) -> Split:
        """The pictures after every pass, decoded once."""
        if self._some is None:
            self._some = source.some_held_out(self.measured_on)
            self._some.images = self._some.batch(torch.arange(len(self._some)))
        return self._some


@torch.no_grad()
def representations(net: Backbone, split: Split, run: Run) -> Tensor:
    """h (N, d) of a split's pictures, on the CPU: what the classifier reads, or x_L averaged over its places where that is
    no single vector."""
    found = features(net, split, run) if len(net.classifier_paths) == 1 else None
    if found is not None:
        return found
    pooled = [net.activations(x)[-2].mean((2, 3)) for x, _ in evaluation_batches(split, net.spec, run.device)]
    return torch.cat(pooled).float().cpu()
