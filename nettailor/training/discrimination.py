"""What a network still tells apart beside its task: the source's classes, and classes that nothing was trained on.

network -> frozen copy -> W_s h(source, held out)         -> source_accuracy
                       -> h(gallery), h(queries)          -> probe_accuracy: k nearest neighbours, cosine
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from blocks import Backbone
from blocks.bn_statistics import recalibrate_norms
from nettailor.data.batches import evaluation_batches, evaluation_size, sample_batches
from nettailor.data.probe_pictures import ProbePictures
from nettailor.data.source import SourcePictures, evenly
from nettailor.data.task import Split
from nettailor.training.neighbours import neighbour_accuracy
from nettailor.training.probe import features
from nettailor.training.run import Run
from nettailor.training.source_head import SourceHead, source_accuracy

SOURCE, PROBE = "source_accuracy", "probe_accuracy"
OWN_NORMS = "source_accuracy_own_norms"
"""With the running statistics of source pictures: what the weights know, apart from where the target's statistics are."""


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
        """Accuracies by name, of the network in eval mode; it is left as it is.

        Args:
            whole: measure the source on all of its held-out pictures, and once more with norms of its own.
        """
        if self.source is None and self.probe is None:
            return {}
        frozen = net.frozen_copy()
        found = self._of_source(frozen, self.source, whole) if self.source is not None else {}
        if self.source is not None and whole:
            found[OWN_NORMS] = self._of_source(self._renormed(net, self.source), self.source, whole)[SOURCE]
        if self.probe is not None:
            both = self.probe.gallery, self.probe.queries
            known, asked = (representations(frozen, split, self.run) for split in both)
            found[PROBE] = neighbour_accuracy(known, both[0].labels, asked, both[1].labels, self.neighbours)
        return found

    def after_no_pass(self, net: Backbone, found: dict[str, float]) -> dict[str, float]:
        """What would be measured after a pass, of a network of which the whole is known."""
        if self.source is None:
            return found
        rest = {name: value for name, value in found.items() if name != OWN_NORMS}
        return {**rest, **self._of_source(net.frozen_copy(), self.source, whole=False)}

    def _of_source(self, frozen: Backbone, source: SourcePictures, whole: bool) -> dict[str, float]:
        assert self.head is not None
        split = source.held_out if whole else self._sample(source)
        return {SOURCE: source_accuracy(frozen, self.head.on(frozen), self.head.rows, split, self.run)}

    def _renormed(self, net: Backbone, source: SourcePictures) -> Backbone:
        """A frozen copy whose norms, as far as they train, have the statistics of source pictures."""
        twin, some = copy.deepcopy(net), evenly(source.train, self.measured_on)
        size = evaluation_size(net.spec)  # in random order: each batch of all classes
        recalibrate_norms(twin, sample_batches(some, len(some), 0, net.spec, self.run.device, size))
        return twin.frozen_copy()

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
