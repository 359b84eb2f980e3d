"""Timings: each takes turns, prints ratios with their intervals, and writes its raw figures."""
