"""What the parts of a student cost, in the one unit that a run counts in."""

from __future__ import annotations

from dataclasses import dataclass

from blocks.paths import Path


@dataclass(frozen=True)
class CostModel:
    """What a student's parts cost in one unit.

    Attributes:
        unit: "macs", "params" or "latency" (milliseconds).
        paths: of every path.
        fixed: of stem and head, which no choice of paths can remove.
        whole: of the whole backbone.
    """

    unit: str
    paths: dict[Path, float]
    fixed: float
    whole: float

    @property
    def blocks(self) -> float:
        """Of all universal blocks together."""
        return sum(price for path, price in self.paths.items() if path.is_universal)

    def limit(self, budget: float) -> float:
        """What paths may cost in a compact net that costs `budget`: a part of the backbone's price, or milliseconds."""
        return (budget if self.unit == "latency" else budget * self.whole) - self.fixed

    def in_words(self, paths: float) -> str:
        """What a compact net costs whose paths cost `paths`, as a budget is given."""
        if self.unit == "latency":
            return f"{paths + self.fixed:.3g} ms"
        return f"{(paths + self.fixed) / self.whole:.3g} of the backbone's {'MACs' if self.unit == 'macs' else 'parameters'}"
