"""What the kit reads from the stored chapters."""

import pytest

from pfpn.kit.chapter import chapter_numbers, load_chapter


@pytest.mark.parametrize("number", chapter_numbers())
def test_every_chapter_has_what_the_kit_needs(number):
    chapter = load_chapter(number)
    assert "\n" not in chapter.title
    assert chapter.question.endswith("?")
    assert len(chapter.goals) >= 4
    assert all(minutes > 0 for minutes in chapter.minutes)
    assert chapter.experiment.endswith("?")
    assert len(chapter.exercises) >= 3


@pytest.mark.parametrize("number", chapter_numbers())
def test_every_prediction_has_a_result(number):
    chapter = load_chapter(number)
    code = "\n".join("".join(c["source"]) for c in chapter.cells.values())
    assert len(chapter.predictions) == code.count(" = ask(") >= 4
    for prediction in chapter.predictions.values():
        assert len(prediction.question) > 20
        assert "\n" not in prediction.question
        assert (
            prediction.truth in prediction.options
            if prediction.options
            else float(prediction.truth) >= 0
        )
        assert prediction.because.endswith((".", "?"))


def test_a_number_is_found_by_its_pattern():
    chapter = load_chapter("01")
    assert chapter.value("485fb11d", r"c2:.*?sees\s+(\d+)") == 43
    with pytest.raises(ValueError, match="no cell 'nowhere'"):
        chapter.value("nowhere", "(1)")
    with pytest.raises(ValueError, match="found no"):
        chapter.value("485fb11d", r"c9 (\d+)")


def test_a_chapter_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="expected 00 to 11"):
        load_chapter("12")
