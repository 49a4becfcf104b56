from pfpn.course.ch07_surfaces import figures_beliefs as figures


def test_every_panel_is_labeled_and_the_words_hold_the_numbers():
    figure = figures.plot_abstaining(steps=9)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 5
    assert all(axes.get_xlabel() and axes.get_ylabel() and axes.get_title() for axes in panels)
    words = figures.describe_abstaining()
    assert "least at scores (0, 0), 1.00" in words
    assert "00 0.6, 01 0.7, 10 0.7, 11 0.65; best is 00" in words
    assert "best is 11" in words
