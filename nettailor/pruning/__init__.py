"""Block graph, importance, solver, rounds, fading, recovery."""

from nettailor.pruning import prune as _prune  # noqa: F401 - its ways to prune enter themselves into `ways.WAYS`
