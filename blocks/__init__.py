"""Torch modules, and how a CNN is cut: universal blocks, proxies, gates, complexity. Knows no task, file or command line.

Read in this order: layer_types, trace, cut, counting, fuse, norms, adapters, paths, proxies, gates, backbone, assembly,
cost_model, student, complexity, least_squares, warm_start, refit, compact, fold, prepack; top, grown.
"""

from blocks.assembly import NetPlan, Plan
from blocks.backbone import Backbone, InputSpec
from blocks.compact import CompactNet, compact
from blocks.complexity import expected_exact, expected_paper
from blocks.cost_model import CostModel
from blocks.counting import Cost, count_macs, count_params
from blocks.cut import Cut, cut
from blocks.fold import fold
from blocks.grown import Grown, Growth
from blocks.kept_classifier import KeptClassifier
from blocks.paths import Path
from blocks.prepack import pack
from blocks.student import Activity, TailoredNet
from blocks.trace import CutError

__all__ = [
    "Activity",
    "Backbone",
    "CompactNet",
    "Cost",
    "CostModel",
    "Cut",
    "CutError",
    "Grown",
    "Growth",
    "InputSpec",
    "KeptClassifier",
    "NetPlan",
    "Path",
    "Plan",
    "TailoredNet",
    "compact",
    "count_macs",
    "count_params",
    "cut",
    "expected_exact",
    "expected_paper",
    "fold",
    "pack",
]
