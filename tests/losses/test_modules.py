"""The losses as modules: options are checked at once, shown, and passed on."""

import pytest
import torch
from torch.testing import assert_close

from pfpn.losses import (
    LovaszHinge,
    LovaszSoftmax,
    dice_loss,
    lovasz_hinge,
    lovasz_softmax,
    lovasz_softmax_from_logits,
    pixel_cross_entropy,
    soft_jaccard_loss,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "presnt"}, "classes is 'presnt'"),
        ({"classes": [0, 0]}, r"classes is \[0, 0\], expected labels from 0 on, each once"),
        ({"classes": [-1]}, r"classes is \[-1\]"),
        ({"classes": ["sky"]}, "classes is"),
        ({"per_image": 1}, "per_image is 1, expected True or False"),
        ({"validate": None}, "validate is None"),
        ({"bins": 0}, "bins is 0"),
        ({"bins": 0.5}, "bins is 0.5"),
        ({"bins": True}, "bins is True"),
        ({"ignore": "void"}, "found ignore 'void'"),
        ({"ignore": 254.5}, "found ignore 254.5"),
        ({"ignore": [255, None]}, "found ignore"),
        ({"ignore": 255, "ignore_index": 255}, "two names of one option"),
        ({"class_weights": [1.0, -1.0]}, "class_weights is"),
        ({"class_weights": [0.0, 0.0]}, "not only zeros"),
        ({"class_weights": [[1.0]]}, "one number from 0 on for each class"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_options_are_checked_when_a_module_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        LovaszSoftmax(**options)
    if not options.keys() & {"classes", "class_weights"}:
        with pytest.raises(ValueError, match=message):
            LovaszHinge(**options)


def test_an_option_that_does_not_exist_is_refused_at_once():
    with pytest.raises(TypeError, match="ignor_index"):
        LovaszSoftmax(ignor_index=255)
    with pytest.raises(TypeError, match="classes"):
        LovaszHinge(classes="present")


def test_the_repr_shows_all_options():
    assert repr(
        LovaszSoftmax(classes=[1, 2], ignore_index=[254, 255], class_weights=[1, 2, 3])
    ) == (
        "LovaszSoftmax(classes=[1, 2], per_image=False, ignore=[254, 255], bins=None, "
        "class_weights=[1.0, 2.0, 3.0], validate=True)"
    )
    assert repr(LovaszHinge(ignore=255, bins=64)) == (
        "LovaszHinge(per_image=True, ignore=[255], bins=64, validate=True)"
    )


def test_every_option_is_passed_on(rng):
    logits = torch.randn(3, 4, 5, 6, generator=rng)
    labels = torch.randint(4, (3, 5, 6), generator=rng)
    labels[labels == 3] = 4  # is ignored, so that class 3 is absent
    for options in (
        {"classes": "all"},
        {"classes": [2, 0]},
        {"per_image": True},
        {"bins": 3},
        {"class_weights": torch.tensor([1.0, 0.0, 2.0, 5.0])},
    ):
        expected = lovasz_softmax_from_logits(logits, labels, ignore=4, **options)
        assert_close(LovaszSoftmax(ignore_index=4, **options)(logits, labels), expected)
        assert abs(expected - lovasz_softmax_from_logits(logits, labels, ignore=4)) > 1e-4
    truth = (labels % 2).where(labels != 4, 9)
    for options in ({"per_image": False}, {"bins": 3}):
        expected = lovasz_hinge(logits[:, 0], truth, ignore=9, **options)
        assert_close(LovaszHinge(ignore=9, **options)(logits[:, 0], truth), expected)
        assert abs(expected - lovasz_hinge(logits[:, 0], truth, ignore=9)) > 1e-4


def test_class_weights_move_with_the_module_and_are_not_saved():
    module = LovaszSoftmax(class_weights=[1, 2]).to("meta")
    assert module.class_weights.device.type == "meta"
    assert module.state_dict() == {}


SPATIAL = [(), (7,), (3, 5), (2, 3, 4), (2, 2, 2, 3)]


@pytest.mark.parametrize("spatial", SPATIAL, ids=str)
@pytest.mark.parametrize("per_image", [False, True])
def test_spatial_axes_may_be_any(spatial, per_image, rng):
    """Axes only number the pixels of an image: all give what one row of pixels gives."""
    num = int(torch.tensor(spatial).prod()) if spatial else 40
    shape = spatial or (40,)
    logits = torch.randn(2, 3, num, generator=rng)
    labels = torch.randint(3, (2, num), generator=rng)
    rows = logits[:, :, None], labels[:, None]
    scores, truth = logits.reshape(2, 3, *shape), labels.reshape(2, *shape)
    options = {"per_image": per_image}
    expected = lovasz_softmax(rows[0].softmax(1), rows[1], **options)
    assert_close(lovasz_softmax(scores.softmax(1), truth, **options), expected)
    assert_close(lovasz_softmax_from_logits(scores, truth, **options), expected)
    is_one = truth == 1
    expected = lovasz_hinge(rows[0][:, 1], rows[1] == 1, **options)
    assert_close(lovasz_hinge(scores[:, 1], is_one, **options), expected)
    for loss in (pixel_cross_entropy, dice_loss, soft_jaccard_loss):
        assert_close(loss(scores.softmax(1), truth), loss(rows[0].softmax(1), rows[1]))


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_without_a_batch_are_one_image(per_image, dtype, rng):
    logits = torch.randn(30, 3, generator=rng, dtype=dtype, requires_grad=True)
    labels = torch.randint(4, (30,), generator=rng)  # 3 is ignored
    image = logits.t()[None, :, :, None]
    options = {"per_image": per_image, "ignore": 3}
    one = lovasz_softmax_from_logits(logits, labels, **options)
    other = lovasz_softmax_from_logits(image, labels[None, :, None], **options)
    assert_close(one, other)
    (gradient,) = torch.autograd.grad(one, logits)
    assert_close(gradient, torch.autograd.grad(other, logits)[0])
    assert gradient.abs().sum() > 0
    hinge = lovasz_hinge(logits[:, 0], labels == 1, per_image=per_image)
    assert_close(hinge, lovasz_hinge(logits[None, :, 0], labels[None] == 1))
    for loss in (pixel_cross_entropy, dice_loss, soft_jaccard_loss):
        counted = labels.where(labels < 3, 255)
        assert_close(
            loss(logits.softmax(1), counted), loss(image.softmax(1), counted[None, :, None])
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_several_labels_may_be_ignored(dtype, rng):
    logits = torch.randn(2, 3, 6, 7, generator=rng, dtype=dtype)
    labels = torch.randint(3, (2, 6, 7), generator=rng)
    one = labels.clone()
    one[0, :3], one[1, :, 4] = 255, 255
    several = one.clone()
    several[0, 0], several[1, 2:, 4] = 254, -1
    expected = lovasz_softmax_from_logits(logits, one, ignore=255)
    for names in ({"ignore": [255, 254, -1]}, {"ignore_index": (254, -1, 255)}):
        assert_close(lovasz_softmax_from_logits(logits, several, **names), expected)
        assert_close(lovasz_softmax(logits.softmax(1), several, **names), expected)
    truth = torch.where(one == 2, 1, one).where(one != 2, 0)
    assert_close(
        lovasz_hinge(logits[:, 0], several.where((several != 2), 0), ignore=[255, 254, -1]),
        lovasz_hinge(logits[:, 0], truth, ignore=255),
    )
    with pytest.raises(
        ValueError, match=r"expected 0 to 2 or 255 or 254\. Is `ignore` \(now 255, 254"
    ):
        lovasz_softmax(logits.softmax(1), several, ignore=[255, 254])
