import pytest

from pfpn.course.ch07_surfaces import figures_slices as figures
from pfpn.course.ch07_surfaces import numbers
from pfpn.plot.surface import LOSSES


@pytest.mark.parametrize("plane", numbers.PLANES)
def test_every_loss_can_be_drawn_over_every_plane(plane):
    for loss in LOSSES:
        figure = figures.plot_slice(numbers.make_slice(12, 0.3, plane), loss, steps=5)
        assert all(axes.get_title() and axes.get_xlabel() for axes in figure.axes)
