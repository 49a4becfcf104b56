"""Training and evaluation around the core."""
