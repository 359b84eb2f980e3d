"""Block graph, importance, solver, rounds, fading, recovery."""
