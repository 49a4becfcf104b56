"""Data of other tools become the data set that they were exported from."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.data.check import check
from pfpn.data.coco import CocoPanoptic
from pfpn.data.formats.importing import class_table, import_pictures, open_source, remarks
from pfpn.data.formats.source import Options
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.files import claim
from tests.data.formats import foreign

CONVERTERS = Path(__file__).resolve().parents[2] / "data_files" / "converters"


def run(kind, source, root, *, options=None, classes=None, order="file", split="train"):
    reader = open_source(kind, source, options or Options())
    with claim(root, "import") as output:
        entries = class_table(reader, root, classes, output)
        return import_pictures(reader, output, split, entries, order=order)


@pytest.fixture(scope="module")
def street():
    return list(ToyStreet(num=3, seed=5))


def assert_same_maps(ours, our_name, theirs, their_name):
    """Two maps have the same segments with classes of the same names; ids may differ."""
    assert ours.id_map.shape == theirs.id_map.shape
    pairs = set(zip(ours.id_map.flatten().tolist(), theirs.id_map.flatten().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    named = {s.id: our_name(s) for s in ours.segments} | {0: ("void", False)}
    expected = {s.id: their_name(s) for s in theirs.segments} | {0: ("void", False)}
    for a, b in pairs:
        assert named[a] == expected[b]


def namer(categories):
    category_of = foreign.names(categories)
    return lambda segment: (category_of(segment).name, segment.is_thing)


def assert_is_the_street(root, street, split="train"):
    found = CocoPanoptic(root, split)
    assert len(found) == len(street)
    for ours, truth in zip(found, street, strict=True):
        assert torch.equal(ours.image, truth.image)
        assert_same_maps(
            ours.panoptic, namer(found.categories), truth.panoptic, namer(TOY_CATEGORIES)
        )
    assert check(root, split) == []


@pytest.mark.parametrize("stuff", ["", "png", "json"])
def test_coco_instances(tmp_path, street, stuff):
    foreign.coco(tmp_path / "in", street, list(TOY_CATEGORIES), stuff=stuff)
    options = Options(stuff=tmp_path / "in" / ("stuff" if stuff == "png" else "stuff.json"))
    source = tmp_path / "in" / ("annotations/instances_all.json" if stuff else "")
    report = run("coco", source, tmp_path / "out", options=options if stuff else None)
    assert report.written == 3
    assert not report.skipped
    assert_is_the_street(tmp_path / "out", street)


@pytest.mark.parametrize("kind", ["cvat", "label-studio"])
def test_coco_exports_of_other_tools(tmp_path, street, kind):
    foreign.coco(tmp_path / "in", street, list(TOY_CATEGORIES))
    if kind == "cvat":
        (tmp_path / "in/annotations").mkdir()
        (tmp_path / "in/result.json").rename(tmp_path / "in/annotations/instances_default.json")
    run(kind, tmp_path / "in", tmp_path / "out")
    assert_is_the_street(tmp_path / "out", street)


def test_labelme(tmp_path, street):
    foreign.labelme(tmp_path / "in", street, TOY_CATEGORIES)
    run("labelme", tmp_path / "in", tmp_path / "out")
    assert_is_the_street(tmp_path / "out", street)


@pytest.mark.parametrize("kind", ["two-channel", "voc", "cvat"])
def test_images_of_classes_and_instances(tmp_path, street, kind):
    foreign.class_images(tmp_path / "in", street, TOY_CATEGORIES, kind)
    categories = tmp_path / "categories.json"
    categories.write_text(json.dumps([
        {"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in TOY_CATEGORIES
    ]))  # fmt: skip
    options = Options(categories=None if kind == "cvat" else categories)
    if kind in ("voc", "cvat"):  # an object is what has a number; parts without one are apart
        (tmp_path / "in" / "JPEGImages").rename(tmp_path / "in" / "images")
    run(kind, tmp_path / "in", tmp_path / "out", options=options)
    assert_is_the_street(tmp_path / "out", street)


def test_folders_of_masks(tmp_path, street):
    foreign.masks(tmp_path / "in", street, TOY_CATEGORIES)
    run("masks", tmp_path / "in", tmp_path / "out")
    assert_is_the_street(tmp_path / "out", street)


def test_cityscapes(tmp_path, street):
    numbers = {"person": 24, "car": 26, "bus": 28, "sky": 23, "building": 11, "road": 7}
    numbers |= {"sidewalk": 8, "grass": 22}
    categories = [
        dataclasses.replace(c, id=numbers.get(c.name, 200 + i))
        for i, c in enumerate(TOY_CATEGORIES)
    ]
    foreign.class_images(tmp_path / "in", street, TOY_CATEGORIES, "cityscapes")
    # Written with the drawn world's ids; give the pixels Cityscapes' numbers.
    to_new = {c.id: n.id for c, n in zip(TOY_CATEGORIES, categories, strict=True)} | {0: 0}
    for path in (tmp_path / "in").rglob("*_instanceIds.png"):
        values = np.array(Image.open(path)).astype(np.int64)
        classes, number = np.where(values >= 1000, values // 1000, values), values % 1000
        new = np.vectorize(to_new.get)(classes)
        new = np.where((values >= 1000), 1000 * new + number, new)
        path.write_bytes(foreign.png(np.minimum(new, 65535).astype(np.uint16)))
    report = run("cityscapes", tmp_path / "in", tmp_path / "out", options=Options(split="val"))
    assert report.written == 3
    found = CocoPanoptic(tmp_path / "out", "train")
    names = namer(found.categories)
    for index, truth in enumerate(street):
        kept = [s for s in truth.panoptic.segments if namer(TOY_CATEGORIES)(s)[0] in numbers]
        ours = found.panoptic(index)
        assert len(ours.segments) == len(kept)
        things = sorted(names(s)[0] for s in ours.segments if s.is_thing)
        assert things == sorted(namer(TOY_CATEGORIES)(s)[0] for s in kept if s.is_thing)


def test_cityscapes_groups_are_crowds(tmp_path):
    folder = tmp_path / "gtFine/val/ulm"
    folder.mkdir(parents=True)
    values = np.array([[26, 26001], [23, 3]], dtype=np.uint16)
    (folder / "ulm_000000_000019_gtFine_instanceIds.png").write_bytes(foreign.png(values))
    images = tmp_path / "leftImg8bit/val/ulm"
    images.mkdir(parents=True)
    photo = np.zeros((2, 2, 3), dtype=np.uint8)
    (images / "ulm_000000_000019_leftImg8bit.png").write_bytes(foreign.png(photo))
    run("cityscapes", tmp_path, tmp_path / "out", options=Options(split="val"))
    panoptic = CocoPanoptic(tmp_path / "out", "train").panoptic(0)
    assert sorted((s.is_thing, s.is_crowd) for s in panoptic.segments) == [
        (False, False), (True, False), (True, True),
    ]  # fmt: skip
    assert panoptic.id_map[1, 1] == 0  # class 3 is not scored


def test_semantic_images_count_connected_regions(tmp_path):
    cat, grass = 3, 9
    values = np.full((4, 6), grass, dtype=np.uint8)
    values[0, 0] = values[2, 3:5] = cat
    values[3, 5] = 255
    (tmp_path / "in/images").mkdir(parents=True)
    (tmp_path / "in/a.png").write_bytes(foreign.png(values))
    (tmp_path / "in/images/a.png").write_bytes(foreign.png(np.zeros((4, 6, 3), dtype=np.uint8)))
    listing = [{"id": 3, "name": "cat", "isthing": 1}, {"id": 9, "name": "lawn", "isthing": 0}]
    (tmp_path / "c.json").write_text(json.dumps(listing))
    run(
        "semantic",
        tmp_path / "in",
        tmp_path / "out",
        options=Options(categories=tmp_path / "c.json"),
    )
    panoptic = CocoPanoptic(tmp_path / "out", "train").panoptic(0)
    assert [s.is_thing for s in panoptic.segments] == [True, True, False]
    assert panoptic.id_map[3, 5] == 0


# panopticapi -------------------------------------------------------------------------------------


def reference_map(name, annotation):
    colors = np.array(Image.open(CONVERTERS / name / annotation["file_name"])).astype(np.int64)
    return colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("kind", "source", "name"),
    [
        ("coco", "detection_all.json", "panoptic_from_detection"),
        ("two-channel", "two_channel", "panoptic_from_two_channel"),
    ],
)
def test_imports_equal_panopticapis(tmp_path, kind, source, name):
    options = Options(images=CONVERTERS / "set" / "val", categories=CONVERTERS / "categories.json")
    run(kind, CONVERTERS / source, tmp_path, options=options)
    found = CocoPanoptic(tmp_path, "train")
    theirs = json.loads((CONVERTERS / f"{name}.json").read_text())
    categories = {
        c["id"]: c["name"] for c in json.loads((CONVERTERS / "categories.json").read_text())
    }
    names = namer(found.categories)
    for index, annotation in enumerate(theirs["annotations"]):
        ours, expected = found.panoptic(index), reference_map(name, annotation)
        pairs = set(zip(ours.id_map.flatten().tolist(), expected.ravel().tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        mine = {s.id: names(s)[0] for s in ours.segments} | {0: None}
        other = {s["id"]: categories[s["category_id"]] for s in annotation["segments_info"]} | {
            0: None
        }
        assert all(mine[a] == other[b] for a, b in pairs)


# what the user sees ------------------------------------------------------------------------------


def tiny(root, **changes):
    """One picture with two polygons of different classes, in COCO's form."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "p.jpg").write_bytes(jpeg(4, 6))
    square = [[1, 1, 4, 1, 4, 3, 1, 3]]
    content = {
        "images": [{"id": 1, "file_name": "p.jpg", "height": 4, "width": 6}],
        "categories": [{"id": 0, "name": "cat"}, {"id": 5, "name": "road"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]]},
            {"id": 2, "image_id": 1, "category_id": 0, "segmentation": square},
        ],
    } | changes
    (root / "i.json").write_text(json.dumps(content))
    return root / "i.json"


def jpeg(height, width, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


def test_the_table_is_written_once_and_then_the_users(tmp_path):
    source, root = tiny(tmp_path / "in"), tmp_path / "out"
    report = run("coco", source, root)
    assert report.lines()[-1] == ("all 1 pictures: 2 kept, 1 partly covered (6 pixels)")
    table = root / "classes.toml"
    text = table.read_text(encoding="utf-8")
    assert '"cat"\nkind = "thing"' in text
    assert '"road"\nkind = "stuff"' in text
    table.write_text(text.replace('"cat"\nkind = "thing"', '"kitten"\nkind = "ignore"'), "utf-8")
    run("coco", source, root)
    found = CocoPanoptic(root, "train")
    assert [c.name for c in found.categories] == ["road"]
    assert found.panoptic(0).id_map[1].tolist() == [1, 0, 0, 0, 1, 1]


def test_a_class_that_the_table_lacks_is_named_with_what_to_add(tmp_path):
    source, root = tiny(tmp_path / "in"), tmp_path / "out"
    run("coco", source, root)
    more = [{"id": 0, "name": "cat"}, {"id": 5, "name": "road"}, {"id": 6, "name": "dog"}]
    tiny(tmp_path / "in", categories=more)
    with pytest.raises(ValueError, match="no entry for 'dog'") as error:
        run("coco", source, root, split="val")
    assert 'name = "dog"' in str(error.value)


def test_photographs_are_copied_byte_for_byte(tmp_path):
    run("coco", tiny(tmp_path / "in"), tmp_path / "out")
    assert (tmp_path / "out/train/p.jpg").read_bytes() == (tmp_path / "in/p.jpg").read_bytes()


def test_a_photograph_turned_by_exif_fits_either_way(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown standing
    source = tiny(tmp_path / "in")
    (tmp_path / "in/p.jpg").write_bytes(jpeg(6, 4, exif=exif))  # shown 4 high, 6 wide
    assert run("coco", source, tmp_path / "upright").written == 1
    (tmp_path / "in/p.jpg").write_bytes(jpeg(4, 6, exif=exif))  # annotated as stored
    assert run("coco", source, tmp_path / "stored").written == 1
    sample = CocoPanoptic(tmp_path / "stored", "train")[0]
    assert sample.image.shape[1:] == (4, 6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.unlink(), "no photograph"),
        (lambda p: p.write_bytes(b"\xff\xd8\xff"), "cannot be read"),
        (lambda p: p.write_bytes(jpeg(5, 6)), "found a photograph of 5 x 6 pixels, expected 4 x 6"),
    ],
)
def test_a_bad_photograph_is_left_out_and_reported(tmp_path, change, reason):
    source = tiny(tmp_path / "in")
    change(tmp_path / "in/p.jpg")
    report = run("coco", source, tmp_path / "out")
    assert report.written == 0
    assert reason in report.lines()[0]
    assert (
        json.loads((tmp_path / "out/annotations/panoptic_train.json").read_text())["images"] == []
    )


@pytest.mark.parametrize(
    "segmentation", [[], {"counts": [1, 2], "size": [9, 9]}, "text", [[1, 2, 3]], None]
)
def test_an_annotation_without_a_mask_is_reported(tmp_path, segmentation):
    bad = {"id": 7, "image_id": 1, "category_id": 0, "segmentation": segmentation}
    report = run("coco", tiny(tmp_path / "in", annotations=[bad]), tmp_path / "out")
    assert any("annotation 7" in line for line in report.lines())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1}]}, "found file_name null, expected text"),
        ({"images": [{"id": 1.0}]}, "found id 1.0, expected a whole number or text"),
        ({"images": ["x"]}, "expected an object with id, file_name"),
        (
            {"images": [{"id": 1, "file_name": "p.jpg", "height": 4, "width": 6.0}]},
            "found width 6.0, expected a whole number of pixels",
        ),
        ({"categories": [{"id": "1", "name": "cat"}]}, 'found category id "1"'),
        ({"images": [], "annotations": []}, "found no picture"),
        ({"annotations": [{"image_id": 9, "category_id": 0}]}, "an annotation of image 9"),
        ({"annotations": [{"image_id": 1, "category_id": 9}]}, "found category_id 9"),
        ({"categories": None}, "no list of categories"),
    ],
)
def test_a_broken_listing_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run("coco", tiny(tmp_path / "in", **change), tmp_path / "out")
    assert not (tmp_path / "out/annotations").exists()


def test_names_that_leave_the_folder_are_refused(tmp_path):
    images = [{"id": 1, "file_name": "../../up.jpg", "height": 4, "width": 6}]
    report = run("coco", tiny(tmp_path / "in", images=images), tmp_path / "out")
    assert report.skipped.keys() == {"up"}
    dots = [{"id": 1, "file_name": "...jpg", "height": 4, "width": 6}]
    with pytest.raises(ValueError, match="plain name"):
        run("coco", tiny(tmp_path / "in", images=dots), tmp_path / "out")


def test_one_picture_named_twice_is_refused(tmp_path):
    images = [
        {"id": 1, "file_name": "a/p.jpg", "height": 4, "width": 6},
        {"id": 2, "file_name": "a/p.jpg", "height": 4, "width": 6},
    ]
    with pytest.raises(ValueError, match="names that differ"):
        run("coco", tiny(tmp_path / "in", images=images), tmp_path / "out")


def test_pictures_of_one_name_in_two_folders_are_both_imported(tmp_path):
    images = [
        {"id": 1, "file_name": "a/p.jpg", "height": 4, "width": 6},
        {"id": 2, "file_name": "b/p.jpg", "height": 4, "width": 6},
    ]
    source = tiny(tmp_path / "in", images=images)
    for number, folder in enumerate("ab"):
        (tmp_path / "in" / folder).mkdir()
        Image.new("RGB", (6, 4), (number, 0, 0)).save(tmp_path / "in" / folder / "p.jpg")
    run("coco", source, tmp_path / "out")
    for folder in "ab":
        copy = tmp_path / f"out/train/{folder}_p.jpg"
        assert copy.read_bytes() == (tmp_path / "in" / folder / "p.jpg").read_bytes()


def test_ids_that_occur_twice_are_refused(tmp_path):
    entry = {"id": 1, "file_name": "p.jpg", "height": 4, "width": 6}
    images = [entry, entry | {"file_name": "q.jpg"}]
    with pytest.raises(ValueError, match="found id 1 twice among the images"):
        run("coco", tiny(tmp_path / "in", images=images), tmp_path / "out")
    categories = [{"id": 0, "name": "cat"}, {"id": 0, "name": "dog"}, {"id": 5, "name": "road"}]
    with pytest.raises(ValueError, match="found id 0 twice among the categories"):
        run("coco", tiny(tmp_path / "in", categories=categories), tmp_path / "out")


def test_masks_of_cvat_are_objects_though_it_marks_each_as_a_crowd(tmp_path):
    code = {"size": [4, 6], "counts": [4, 8, 12]}
    row = {"id": 1, "image_id": 1, "category_id": 0, "segmentation": code, "iscrowd": 1}
    row["attributes"] = {"occluded": False}
    source = tiny(tmp_path / "in", annotations=[row])
    for kind, is_crowd in (("cvat", False), ("coco", True)):
        reader = open_source(kind, source, Options())
        assert bool(remarks(kind, reader)) is not is_crowd
        report = run(kind, source, tmp_path / kind)
        assert report.total().crowds == is_crowd
        assert CocoPanoptic(tmp_path / kind, "train").panoptic(0).segments[0].is_crowd is is_crowd


def test_a_voc_list_of_the_split_says_what_is_read(tmp_path):
    values = np.ones((2, 3), dtype=np.uint8)
    for name in ("a", "day/b", "c.d"):
        for folder, pixels in (
            ("SegmentationClass", values),
            ("JPEGImages", np.stack([values] * 3, -1)),
        ):
            path = tmp_path / "in" / folder / f"{name}.PNG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(foreign.png(pixels))
    lists = tmp_path / "in/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nday/b\n")
    (lists / "val.txt").write_text("c.d\n")
    (lists / "test.txt").write_text("e\n")
    for split, stems in (("train", {"a", "b"}), ("val", {"c.d"}), ("other", {"a", "b", "c.d"})):
        run("voc", tmp_path / "in", tmp_path / split, options=Options(split=split))
        assert {p.stem for p in (tmp_path / split / "train").iterdir()} == stems
    with pytest.raises(ValueError, match=r"test.txt: found 1 names and none of a PNG"):
        run("voc", tmp_path / "in", tmp_path / "no", options=Options(split="test"))


def test_borders_of_voc_objects_are_void(tmp_path):
    classes = np.array([[7, 7, 7, 255, 0]], dtype=np.uint8)
    objects = np.array([[1, 255, 2, 255, 0]], dtype=np.uint8)
    photo = np.zeros((1, 5, 3), dtype=np.uint8)
    named = {"SegmentationClass": classes, "SegmentationObject": objects, "JPEGImages": photo}
    for folder, pixels in named.items():
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "a.png").write_bytes(foreign.png(pixels))
    run("voc", tmp_path / "in", tmp_path / "out")
    assert CocoPanoptic(tmp_path / "out", "train").panoptic(0).id_map.tolist() == [[1, 0, 2, 0, 0]]


# photographs -------------------------------------------------------------------------------------


def import_photograph(tmp_path, name, height=4, width=6):
    images = [{"id": 1, "file_name": name, "height": height, "width": width}]
    report = run("coco", tiny(tmp_path / "in", images=images), tmp_path / "out")
    return report, (CocoPanoptic(tmp_path / "out", "train") if report.written else None)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", [1, 2, 6])
@pytest.mark.parametrize("is_shown", [True, False])
def test_photographs_of_16_bits_keep_their_brightness(tmp_path, suffix, orientation, is_shown):
    (tmp_path / "in").mkdir()
    gray = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2500
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(gray).save(tmp_path / f"in/q{suffix}", exif=exif)
    shown = {1: gray, 2: gray[:, ::-1], 6: np.rot90(gray, -1)}[orientation]
    is_turned = is_shown or orientation == 2  # a mirrored one has the same size
    expected = (shown if is_turned else gray) >> 8
    images = [
        dict(zip(("height", "width"), expected.shape, strict=True), id=1, file_name=f"q{suffix}")
    ]
    report = run("coco", tiny(tmp_path / "in", images=images, annotations=[]), tmp_path / "out")
    if suffix == ".tif" and not is_turned and orientation == 6:  # Pillow turns it in any case
        assert "Save it turned" in report.skipped["q"]
    else:
        image = CocoPanoptic(tmp_path / "out", "train")[0].image
        assert image[1].tolist() == expected.tolist()


def test_photographs_of_32_bits_are_left_out(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("F", (6, 4)).save(tmp_path / "in/q.tif")
    report, _ = import_photograph(tmp_path, "q.tif")
    assert "32-bit floating-point" in report.skipped["q"]


def test_a_photograph_of_another_format_is_named_in_words(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "in/q.jpg", format="GIF")
    report, _ = import_photograph(tmp_path, "q.jpg")
    assert "its format is unknown" in report.skipped["q"]
    assert "0x" not in report.skipped["q"]


def test_a_jpeg_of_several_pictures_is_kept_as_it_is(tmp_path):
    (tmp_path / "in").mkdir()
    small = Image.new("RGB", (3, 2))
    Image.new("RGB", (6, 4), (200, 0, 0)).save(
        tmp_path / "in/q.jpg", format="MPO", save_all=True, append_images=[small]
    )
    _, dataset = import_photograph(tmp_path, "q.jpg")
    assert (tmp_path / "out/train/q.jpg").read_bytes() == (tmp_path / "in/q.jpg").read_bytes()
    assert dataset[0].image.shape == (3, 4, 6)
    assert check(tmp_path / "out", "train") == []


@pytest.mark.parametrize(("orientation", "size"), [(3, (4, 6)), (6, (5, 5))])
def test_a_turn_that_the_size_does_not_show_is_carried_out_and_told(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "in").mkdir()
    pixels = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size) * 3
    Image.fromarray(pixels).save(tmp_path / "in/q.png", exif=exif)
    report, dataset = import_photograph(tmp_path, "q.png", *size)
    turned = np.rot90(pixels, 2) if orientation == 3 else np.rot90(pixels, -1)
    assert dataset[0].image[0].tolist() == turned.tolist()
    assert f"orientation {orientation}" in report.notes["q"]
    assert check(tmp_path / "out", "train") == []  # so that training begins


def test_a_data_set_of_other_origin_is_never_replaced(tmp_path):
    source, root = tiny(tmp_path / "in"), tmp_path / "out"
    run("coco", source, root)
    mine = root / "train/p.jpg"
    mine.write_bytes(b"my own photograph")
    with pytest.raises(ValueError, match="changed since"):
        run("coco", source, root)
    assert mine.read_bytes() == b"my own photograph"


def test_pictures_that_are_gone_from_the_source_go_from_the_data_set(tmp_path):
    source, root = tiny(tmp_path / "in"), tmp_path / "out"
    run("coco", source, root)
    (tmp_path / "in/q.jpg").write_bytes(jpeg(4, 6))
    images = [{"id": 1, "file_name": "q.jpg", "height": 4, "width": 6}]
    run("coco", tiny(tmp_path / "in", images=images), root)
    assert sorted(p.name for p in (root / "train").iterdir()) == ["q.jpg"]
    assert sorted(p.name for p in (root / "annotations/panoptic_train").iterdir()) == ["q.png"]


def test_uncompressed_codes_are_read(tmp_path):
    code = {"size": [4, 6], "counts": [4, 8, 12]}  # columns 1 and 2
    row = {"id": 1, "image_id": 1, "category_id": 0, "segmentation": code, "iscrowd": 1}
    run("coco", tiny(tmp_path / "in", annotations=[row]), tmp_path / "out")
    panoptic = CocoPanoptic(tmp_path / "out", "train").panoptic(0)
    assert panoptic.id_map[0].tolist() == [0, 1, 1, 0, 0, 0]
    assert panoptic.segments[0].is_crowd


def test_labelme_before_version_3_says_no_size(tmp_path):
    shapes = [
        {"label": "sky", "points": [[0, 0], [8, 0], [8, 3], [0, 3]]},
        {"label": "lane", "points": [[0, 0], [8, 3]], "shape_type": "line"},
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/p.json").write_text(json.dumps({"shapes": shapes, "imagePath": "p.jpg"}))
    (tmp_path / "in/p.jpg").write_bytes(jpeg(10, 8))
    (tmp_path / "in/q.json").write_text(json.dumps({"shapes": shapes, "imagePath": "q.jpg"}))
    report = run("labelme", tmp_path / "in", tmp_path / "out")
    assert report.written == 1
    assert "no photograph 'q.jpg'" in report.skipped["q"]
    dataset = CocoPanoptic(tmp_path / "out", "train")
    assert dataset.panoptic(0).id_map.shape == (10, 8)
    assert [c.name for c in dataset.categories] == ["sky"]  # a line is no class


def test_labelme_shapes_of_every_kind(tmp_path):
    shapes = [
        {"label": "sky", "shape_type": "rectangle", "points": [[0, 0], [8, 3]]},
        {"label": "cat", "shape_type": "circle", "points": [[4, 6], [4, 8]]},
        {
            "label": "dog",
            "shape_type": "polygon",
            "group_id": 1,
            "points": [[0, 4], [2, 4], [2, 6]],
        },
        {
            "label": "dog",
            "shape_type": "polygon",
            "group_id": 1,
            "points": [[6, 4], [8, 4], [8, 6]],
        },
        {"label": "cat", "shape_type": "line", "points": [[0, 0], [1, 1]]},
    ]
    content = {"shapes": shapes, "imagePath": "p.jpg", "imageHeight": 10, "imageWidth": 8}
    (tmp_path / "in").mkdir()
    (tmp_path / "in/p.json").write_text(json.dumps(content))
    (tmp_path / "in/p.jpg").write_bytes(jpeg(10, 8))
    report = run("labelme", tmp_path / "in", tmp_path / "out")
    assert report.losses["p"].problems == ["'cat': a line has no area"]
    panoptic = CocoPanoptic(tmp_path / "out", "train").panoptic(0)
    assert len(panoptic.segments) == 3  # sky, one cat, one dog in two parts
    sky, circle = panoptic.id_map[0, 0], panoptic.id_map[6, 4]
    assert (panoptic.id_map[:3] == sky).all()
    assert 10 <= (panoptic.id_map == circle).sum() <= 16  # pi * 2 ** 2 = 12.6
