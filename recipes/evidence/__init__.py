"""Pages under docs/ that are generated from raw reports."""
