"""One resident backbone, many deltas: what they share is computed once."""
