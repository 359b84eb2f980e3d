"""Runnable procedures: YAML recipes for `nettailor adapt --recipe`, and code for `python -m recipes.NAME`."""
