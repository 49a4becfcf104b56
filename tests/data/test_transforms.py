import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from pfpn.boxes import masks_to_boxes
from pfpn.data import transforms
from pfpn.data.transforms import (
    Compose,
    Photometric,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
    build_transform,
    present_ids,
    resize_id_map,
    to_targets,
)
from pfpn.structures import IGNORE, VOID, Category, Panoptic, Sample, Segment

SKY, ROAD = Category(3, "sky", False), Category(8, "road", False)
CAR, MAN = Category(5, "car", True), Category(11, "man", True)
CATEGORIES = [ROAD, MAN, SKY, CAR]  # in no order: labels follow ascending ids


def sample_of(rows: list[list[int]], segments: list[Segment], image=None) -> Sample:
    id_map = torch.tensor(rows)
    if image is None:
        image = id_map.to(torch.uint8).expand(3, -1, -1).clone()
    return Sample(image, Panoptic(id_map, tuple(segments)), image_id=7)


@pytest.fixture
def street() -> Sample:
    """Sky above a road, two cars, a crowd of men, a void pixel."""
    rows = [
        [1, 1, 1, 1, 1, 0],
        [1, 4, 4, 1, 9, 9],
        [2, 4, 4, 5, 9, 9],
        [2, 2, 2, 5, 2, 2],
    ]
    segments = [
        Segment(1, 1, is_thing=False),
        Segment(2, 2, is_thing=False),
        Segment(4, 0, is_thing=True),
        Segment(5, 0, is_thing=True),
        Segment(9, 1, is_thing=True, is_crowd=True),
    ]
    return sample_of(rows, segments)


def random_sample(rng: torch.Generator, size=(40, 56)) -> Sample:
    id_map = torch.randint(0, 5, (size[0] // 8, size[1] // 8), generator=rng)
    id_map = id_map.repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = (id_map * 50).to(torch.uint8).expand(3, -1, -1).clone()
    segments = [Segment(i, 0, is_thing=True) for i in sorted(present_ids(id_map) - {VOID})]
    return Sample(image, Panoptic(id_map, tuple(segments)), 0)


def test_targets_of_a_street_are_as_read_off_the_picture(street):
    instances, label_map = to_targets(street, CATEGORIES)
    assert_close(instances.boxes, torch.tensor([[1.0, 1, 3, 3], [3, 2, 4, 4]]))
    assert instances.labels.tolist() == [0, 0]
    assert_close(instances.masks, torch.stack([street.panoptic.id_map == i for i in (4, 5)]))
    assert label_map.tolist() == [
        [1, 1, 1, 1, 1, IGNORE],
        [1, 0, 0, 1, 0, 0],
        [2, 0, 0, 0, 0, 0],
        [2, 2, 2, 0, 2, 2],
    ]


def test_a_model_without_instances_learns_every_class_and_no_other(street):
    _, label_map = to_targets(street, CATEGORIES, all_classes=True)
    assert label_map.tolist() == [
        [2, 2, 2, 2, 2, IGNORE],
        [2, 0, 0, 2, 1, 1],
        [3, 0, 0, 0, 1, 1],
        [3, 3, 3, 0, 3, 3],
    ]


def test_all_classes_come_back_from_a_semantic_map(street):
    from pfpn.merge import segments_from_labels

    _, label_map = to_targets(street, CATEGORIES, all_classes=True)
    found = segments_from_labels(label_map, num_things=2)
    assert [(s.label, s.is_thing) for s in found.segments] == [
        (0, True),
        (1, True),
        (1, False),
        (2, False),
    ]


def test_a_picture_without_things_has_empty_instances():
    sample = sample_of([[1, 1], [1, 1]], [Segment(1, 1, is_thing=False)])
    instances, label_map = to_targets(sample, CATEGORIES)
    assert len(instances) == 0
    assert instances.masks.shape == (0, 2, 2)
    assert (label_map == 1).all()


def test_a_picture_of_nothing_but_void_is_ignored():
    instances, label_map = to_targets(sample_of([[0, 0]], []), CATEGORIES)
    assert len(instances) == 0
    assert (label_map == IGNORE).all()


def test_a_flip_mirrors_image_and_truth_together(street, rng):
    flipped = RandomFlip(1.0)(street, rng)
    assert_close(flipped.panoptic.id_map[:, 0], street.panoptic.id_map[:, -1])
    assert_close(flipped.image[0].long(), flipped.panoptic.id_map)
    back = RandomFlip(1.0)(flipped, rng)
    assert_close(back.image, street.image)
    assert_close(back.panoptic.id_map, street.panoptic.id_map)


def test_a_flip_happens_as_often_as_its_probability_says(street, rng):
    flips = sum(
        bool((RandomFlip(0.25)(street, rng).image != street.image).any()) for _ in range(400)
    )
    assert 60 < flips < 140  # 100 expected, standard deviation 8.7
    assert RandomFlip(0.0)(street, rng) is street


def test_a_crop_shows_the_same_pixels_and_forgets_what_it_cut_off(street, rng):
    seen = set()
    for _ in range(60):
        cropped = RandomCrop((2, 3))(street, rng)
        assert cropped.image.shape == (3, 2, 3)
        assert_close(cropped.image[0].long(), cropped.panoptic.id_map)
        ids = present_ids(cropped.panoptic.id_map) - {VOID}
        assert {s.id for s in cropped.panoptic.segments} == ids
        seen.add(tuple(cropped.panoptic.id_map.flatten().tolist()))
    assert len(seen) == 3 * 4  # every place


def test_a_crop_larger_than_the_image_leaves_it_whole(street, rng):
    cropped = RandomCrop((10, 4))(street, rng)
    assert cropped.image.shape == (3, 4, 4)


@pytest.mark.parametrize("size", [(20, 28), (80, 112), (31, 44), (40, 56), (1, 1)])
def test_an_id_map_is_resized_as_pil_does_it(size, rng):
    id_map = random_sample(rng).panoptic.id_map * 60_000  # ids beyond 16 bits
    ours = resize_id_map(id_map, size)
    rows = (torch.arange(size[0]) + 0.5) * (40 / size[0])
    columns = (torch.arange(size[1]) + 0.5) * (56 / size[1])
    assert_close(ours, id_map[rows.long()][:, columns.long()])
    assert ours.dtype == torch.int64


def test_a_resize_keeps_image_and_truth_aligned_and_drops_what_vanishes(rng):
    id_map = torch.ones((64, 96), dtype=torch.int64)
    id_map[0, 0] = 2  # one pixel, gone at half the size: centers fall on odd pixels
    sample = Sample(
        id_map.to(torch.uint8).expand(3, -1, -1) * 100,
        Panoptic(id_map, (Segment(1, 1, False), Segment(2, 0, True))),
        0,
    )
    small = ResizeShortestEdge((32,), 1000)(sample, rng)
    assert small.image.shape == (3, 32, 48)
    assert small.panoptic.id_map.shape == (32, 48)
    assert [s.id for s in small.panoptic.segments] == [1]


def test_a_resize_draws_from_its_choices_and_heeds_the_longest_edge(rng):
    sample = random_sample(rng)
    sizes = {ResizeShortestEdge((20, 40), 1000)(sample, rng).image.shape for _ in range(30)}
    assert sizes == {(3, 20, 28), (3, 40, 56)}
    assert ResizeShortestEdge((80,), 56)(sample, rng) is sample


def test_color_changes_touch_the_image_alone_and_stay_in_range(street, rng):
    changed = Photometric(1.0, 1.0, 1.0)(street, rng)
    assert changed.image.dtype == torch.uint8
    assert changed.panoptic is street.panoptic
    assert_close(Photometric(0, 0, 0)(street, rng).image, street.image)


def test_brightness_scales_every_value_alike(rng):
    image = torch.full((3, 2, 2), 100, dtype=torch.uint8)
    sample = sample_of([[1, 1], [1, 1]], [Segment(1, 1, False)], image)
    values = {int(Photometric(brightness=0.2)(sample, rng).image[0, 0, 0]) for _ in range(200)}
    assert 80 <= min(values) < 84
    assert 116 < max(values) <= 120


def photometric(image: list[list[int]], factors: list[float], monkeypatch) -> list[list[int]]:
    """Change one row of pixels, (3, w), by given factors of brightness, contrast, saturation."""
    draws = iter(factors)
    monkeypatch.setattr(transforms, "_draw", lambda low, high, rng: next(draws))
    pixels = torch.tensor(image, dtype=torch.uint8)[:, None]
    sample = sample_of([[1] * len(image[0])], [Segment(1, 1, False)], pixels)
    return Photometric(1.0, 1.0, 1.0)(sample, torch.Generator()).image[:, 0].tolist()


def test_full_loss_of_saturation_leaves_the_gray_of_each_pixel(monkeypatch):
    image = [[255, 0], [0, 255], [0, 0]]  # red and green
    gray = photometric(image, [1, 1, 0], monkeypatch)
    assert gray == [[76, 150]] * 3  # 0.299 * 255 = 76.2, 0.587 * 255 = 149.7


def test_contrast_stretches_from_the_images_mean_gray(monkeypatch):
    image = [[10, 30]] * 3  # mean 20, far from the middle of the range
    assert photometric(image, [1, 2, 1], monkeypatch) == [[0, 40]] * 3
    assert photometric(image, [1, 0, 1], monkeypatch) == [[20, 20]] * 3


def test_brightness_comes_before_contrast_and_contrast_before_saturation(monkeypatch):
    assert photometric([[10, 30]] * 3, [2, 0, 1], monkeypatch) == [[40, 40]] * 3
    # Contrast 0.5 around the mean gray 19.06 of (30, 10, 30) and (10, 30, 10), then gray
    image = [[30, 10], [10, 30], [30, 10]]
    gray = [0.299 * 30 + 0.587 * 10 + 0.114 * 30, 0.299 * 10 + 0.587 * 30 + 0.114 * 10]
    mean = sum(gray) / 2
    expected = [round(mean + 0.5 * (value - mean)) for value in gray]
    assert photometric(image, [1, 0.5, 0], monkeypatch) == [expected] * 3


def test_colors_are_rounded_not_cut(monkeypatch):
    assert photometric([[3, 5]] * 3, [1.25, 1, 1], monkeypatch) == [[4, 6]] * 3  # 3.75, 6.25


def test_colors_are_left_alone_unless_asked(street, rng):
    assert torch.equal(Photometric()(street, rng).image, street.image)


def test_the_same_seed_gives_the_same_picture(street):
    transform = build_transform(
        shortest_edges=(3, 4, 8), crop=(3, 3), flip=0.5, brightness=0.5, contrast=0.5
    )
    one, two = (transform(street, torch.Generator().manual_seed(3)) for _ in range(2))
    assert_close(one.image, two.image)
    assert_close(one.panoptic.id_map, two.panoptic.id_map)


def test_a_transform_leaves_its_input_as_it_was(street):
    image, id_map = street.image.clone(), street.panoptic.id_map.clone()
    transform = build_transform(shortest_edges=(3,), crop=(2, 2), flip=1.0, saturation=1.0)
    transform(street, torch.Generator().manual_seed(0))
    assert_close(street.image, image)
    assert_close(street.panoptic.id_map, id_map)


def test_a_probability_of_0_never_flips_and_of_1_always(street, monkeypatch):
    flipped = street.image.flip(2)
    for draw, probability, expected in (
        (0.0, 0.0, street.image),
        (0.0, 0.5, flipped),
        (0.5, 0.5, street.image),
        (1 - 2**-24, 1.0, flipped),
    ):
        monkeypatch.setattr(transforms, "_draw", lambda low, high, rng, draw=draw: draw)
        flipped_or_not = RandomFlip(probability)(street, torch.Generator()).image
        assert torch.equal(flipped_or_not, expected)


def test_settings_build_their_steps_in_order():
    steps = build_transform(
        shortest_edges=(512, 1024), longest_edge=4096, crop=(512, 1024), flip=0.25,
        brightness=0.1, contrast=0.2, saturation=0.3,
    )  # fmt: skip
    assert steps == Compose(
        (
            ResizeShortestEdge((512, 1024), 4096),
            RandomCrop((512, 1024)),
            RandomFlip(0.25),
            Photometric(0.1, 0.2, 0.3),
        )
    )
    assert build_transform() == Compose((RandomFlip(0.5),))
    assert build_transform(shortest_edges=(800,), flip=0) == Compose(
        (ResizeShortestEdge((800,), 1333),)
    )
    for color in ("brightness", "contrast", "saturation"):
        assert build_transform(flip=0, **{color: 0.1}) == Compose((Photometric(**{color: 0.1}),))


def test_idle_settings_build_no_transform(street, rng):
    assert build_transform(flip=0.0) == Compose(())
    assert Compose(())(street, rng) is street


@pytest.mark.parametrize("seed", range(5))
def test_present_ids_are_those_of_a_plain_count(seed):
    rng = torch.Generator().manual_seed(seed)
    id_map = random_sample(rng).panoptic.id_map
    assert present_ids(id_map) == set(id_map.unique().tolist())


def test_an_image_resizes_as_pil_does(rng):
    image = torch.randint(0, 256, (3, 30, 40), generator=rng, dtype=torch.uint8)
    sample = Sample(image, Panoptic(torch.ones((30, 40), dtype=torch.int64), ()), 0)
    small = ResizeShortestEdge((15,), 100)(sample, rng)
    pil = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(
        (20, 15), Image.Resampling.BILINEAR
    )
    assert small.image.permute(1, 2, 0).numpy().tobytes() == pil.tobytes()


@pytest.mark.parametrize("all_classes", [False, True])
def test_targets_are_what_their_definition_says(rng, all_classes):
    categories = [Category(i, f"thing {i}", True, (i, 0, 0)) for i in range(2)]
    categories += [Category(9 + i, f"stuff {i}", False, (0, i, 0)) for i in range(3)]
    ids = [7, 300, 70_000, 5, 16_000_000, 12]  # the last is nowhere painted
    id_map = torch.tensor([VOID, *ids[:-1]])[torch.randint(6, (9, 11), generator=rng)]
    segments = (
        Segment(7, 1, True),
        Segment(300, 0, True, is_crowd=True),
        Segment(70_000, 0, True),
        Segment(5, 3, False),
        Segment(16_000_000, 1, False),
        Segment(12, 1, True),
    )
    sample = Sample(torch.zeros((3, 9, 11), dtype=torch.uint8), Panoptic(id_map, segments), 0)
    found, label_map = to_targets(sample, categories, all_classes=all_classes)
    assert found.labels.tolist() == [1, 0]
    assert torch.equal(found.masks, torch.stack([id_map == 7, id_map == 70_000]))
    assert torch.equal(found.boxes, masks_to_boxes(found.masks))
    labels = {VOID: IGNORE, 7: 0, 300: 0, 70_000: 0, 5: 3, 16_000_000: 1}
    if all_classes:  # things 0 and 1, then stuff 1..3 from 2 on
        labels = {VOID: IGNORE, 7: 1, 300: 0, 70_000: 0, 5: 4, 16_000_000: 2}
    assert label_map.tolist() == [[labels[i] for i in row] for row in id_map.tolist()]
