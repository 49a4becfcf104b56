"""The losses as modules: options are checked at once, shown, and passed on."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn
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
        ({"bins": 10**9}, "bins is 1000000000, expected 1 to 1000000"),
        ({"classes": None}, "classes is None"),
        ({"classes": 1}, "classes is 1, expected labels from 0 on"),
        ({"classes": []}, r"classes is \[\], expected labels from 0 on"),
        ({"ignore": "void"}, "found ignore 'void'"),
        ({"ignore": 254.5}, "found ignore 254.5"),
        ({"ignore": ""}, "found ignore ''"),
        ({"ignore": b"\xff"}, "found ignore b"),
        ({"ignore": 2**70}, r"found ignore 118\d+, expected a label"),
        ({"ignore": [255, None]}, "found ignore"),
        ({"ignore": 255, "ignore_index": 255}, "two names of one option"),
        ({"class_weights": [1.0, -1.0]}, "class_weights is"),
        ({"class_weights": [0.0, 0.0]}, "not only zeros"),
        ({"class_weights": [[1.0]]}, "one number from 0 on for each class"),
        ({"class_weights": [1.0, float("inf")]}, "class_weights is"),
        ({"class_weights": [1.0, float("nan")]}, "class_weights is"),
        ({"class_weights": 2.0}, "one number from 0 on for each class"),
        ({"class_weights": "balanced"}, "class_weights is balanced"),
        ({"class_weights": {0: 1.0}}, "class_weights is {0: 1.0}"),
        ({"class_weights": torch.ones(2, requires_grad=True)}, "without a gradient"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_options_are_checked_when_a_module_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        LovaszSoftmax(**options)
    if not options.keys() & {"classes", "class_weights"}:
        with pytest.raises(ValueError, match=message):
            LovaszHinge(**options)


def test_class_weights_may_be_a_list_or_of_any_type(rng):
    logits, labels = torch.randn(2, 3, 4, 5, generator=rng), torch.randint(3, (2, 4, 5))
    weights = [1, 2, 4]
    expected = lovasz_softmax_from_logits(
        logits, labels, classes=[0, 2], bins=8, class_weights=torch.tensor(weights).float()
    )
    for given in (weights, tuple(weights), torch.tensor(weights), torch.tensor(weights).half()):
        options = {"classes": [0, 2], "bins": 8, "class_weights": given}
        assert_close(lovasz_softmax_from_logits(logits, labels, **options), expected)
        assert_close(lovasz_softmax(logits.softmax(1), labels, **options), expected)
        assert_close(LovaszSoftmax(**options)(logits, labels), expected)


@pytest.mark.usefixtures("unchecked")
def test_numpys_numbers_are_numbers(rng):
    logits, labels = torch.randn(2, 3, 4, 5, generator=rng), torch.randint(3, (2, 4, 5))
    expected = lovasz_softmax_from_logits(
        logits, labels, classes=[0, 2], bins=8, class_weights=torch.tensor([1.0, 2.0, 4.0])
    )
    options = {"classes": list(np.array([0, 2])), "bins": np.int64(8)}
    options["class_weights"] = np.array([1, 2, 4])
    assert_close(lovasz_softmax_from_logits(logits, labels, **options), expected)


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
    assert "class_weights=..." in repr(module)  # there are no values to show


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


def pixel_losses(labels: Tensor, scores: Tensor, ignore: int) -> list[Tensor]:
    probs = scores.softmax(1)
    return [
        lovasz_softmax(probs, labels, ignore=ignore),
        lovasz_softmax_from_logits(scores.double(), labels, ignore=ignore),
        lovasz_hinge(scores[:, 0], labels % 2, ignore=ignore),
        pixel_cross_entropy(scores, labels, ignore=ignore),
        dice_loss(probs, labels, ignore=ignore),
        soft_jaccard_loss(probs, labels, ignore=ignore),
    ]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.bool])
@pytest.mark.parametrize("ignore", [-100, 256, 255, 1])
def test_a_label_that_a_type_cannot_hold_ignores_nothing(dtype, ignore, rng):
    """Compared as uint8, -100 is 156 and 256 is 0: class 156 or 0 would be left out unasked."""
    num = 2 if dtype == torch.bool else 100 if dtype == torch.int8 else 200
    scores = torch.randn(1, num, 4, 6, generator=rng)
    labels = torch.randint(num, (1, 4, 6), generator=rng)
    labels[0, 0], labels[0, 1] = 0, min(156, num - 1)
    expected = pixel_losses(labels, scores, ignore)
    hinge = lovasz_hinge(scores[:, 0], labels % 2, ignore=ignore)
    ours = pixel_losses(labels.to(dtype), scores, ignore) if dtype != torch.bool else None
    if ours is None:  # which knows no remainder
        ours = pixel_losses(labels.to(torch.uint8), scores, ignore)
        assert_close(lovasz_hinge(scores[:, 0], labels.bool(), ignore=ignore), hinge)
        assert_close(lovasz_softmax(scores.softmax(1), labels.bool(), ignore=ignore), expected[0])
        assert_close(pixel_cross_entropy(scores, labels.bool(), ignore=ignore), expected[3])
        assert_close(dice_loss(scores.softmax(1), labels.bool(), ignore=ignore), expected[4])
    assert_close(ours, expected)


EACH = [lovasz_softmax_from_logits, pixel_cross_entropy, dice_loss, soft_jaccard_loss]


@pytest.mark.parametrize("loss", EACH)
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        # Of one image and one class these would broadcast to another loss, without an error
        ((1, 3, 4, 5), (1, 1, 4, 5), r"Try labels\.squeeze\(1\)"),
        ((1, 1, 4, 5), (1, 1, 4, 5), r"Try labels\.squeeze\(1\)"),
        ((2, 3, 4, 5), (2, 3, 4, 5), r"one-hot\? Try labels\.argmax\(1\)"),
        ((2, 4, 5, 3), (2, 4, 5), r"Try scores\.movedim\(-1, 1\)"),
        ((3, 4, 5), (4, 5), r"Try scores\[None\] and labels\[None\]"),
        ((2, 3, 4, 5), (2, 8, 10), "brought to the size of the labels"),
        ((3,), (3,), "do not fit"),
        ((), (), "do not fit"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_shapes_that_do_not_fit_are_refused_with_what_to_try(loss, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.rand(scores), torch.zeros(labels, dtype=torch.long))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ((2, 1, 4, 5), (2, 4, 5), r"Try scores\.squeeze\(1\)"),
        ((2, 4, 5), (2, 1, 4, 5), r"Try labels\.squeeze\(1\)"),
        ((), (), "do not fit"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_shapes_that_do_not_fit_the_hinge_are_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        lovasz_hinge(torch.rand(scores), torch.zeros(labels, dtype=torch.long))


@pytest.mark.parametrize("loss", EACH)
@pytest.mark.usefixtures("unchecked")
def test_scores_and_labels_of_other_types_are_refused(loss):
    scores, labels = torch.rand(1, 2, 3), torch.zeros(1, 3, dtype=torch.long)
    for given, message in (
        ((scores.numpy(), labels), "scores: found ndarray, expected a tensor"),
        ((scores, labels.tolist()), "labels: found list, expected a tensor"),
        ((scores.long(), labels), r"scores: found torch\.int64, expected floating point"),
        ((scores > 0, labels), r"scores: found torch\.bool"),
        ((scores.to(torch.cfloat), labels), r"scores: found torch\.complex64"),
        ((scores, scores[:, 0]), r"labels: found torch\.float32"),
    ):
        with pytest.raises(ValueError, match=message):
            loss(*given)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copied_module_computes_the_same(copied, rng):
    logits, labels = torch.randn(2, 3, 4, 5, generator=rng), torch.randint(3, (2, 4, 5))
    module = LovaszSoftmax(class_weights=[1, 2, 4], ignore_index=[0, 255], bins=8)
    network = copied(nn.Sequential(module))
    assert torch.equal(network[0](logits, labels), module(logits, labels))
    assert repr(network[0]) == repr(module)
