"""Rows of dots: where they stand, and the words beside them."""

from pfpn.plot.scores import describe_scores, plot_scores

SCORES = {"c2": [0.5, 0.61], "c3": [0.7, 0.9]}


def test_each_kind_has_a_dot_in_each_row():
    (axes,) = plot_scores(SCORES, ["inside", "at borders"], "right cells (%)", low=30).axes
    dots = [
        (line.get_label(), list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines[:2]
    ]
    assert dots == [("inside", [50, 70], [-0.2, 0.8]), ("at borders", [61, 90], [0.2, 1.2])]
    assert [text.get_text() for text in axes.texts] == ["50", "70", "61", "90"]
    assert axes.get_xlim()[0] == 30
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c2", "c3"]
    assert axes.yaxis_inverted()  # the first name on top


def test_the_words_hold_the_numbers():
    words = describe_scores(SCORES, ["inside", "at borders"])
    assert words == "Rows of dots in percent (inside, at borders): c2 50, 61; c3 70, 90."
