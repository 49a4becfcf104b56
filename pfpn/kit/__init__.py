"""The classroom kit: what an instructor needs besides the notebooks, made from the notebooks."""
