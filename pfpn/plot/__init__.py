"""Figures: `plot_*` returns a Figure, `draw_*` paints on given axes."""
