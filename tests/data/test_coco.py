import io
import json
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pfpn.data.categories import LabelMap
from pfpn.data.coco import (
    MAX_ID,
    CocoPanoptic,
    CocoWriter,
    FormatError,
    id_map_to_rgb,
    make_annotation,
    read_id_map,
    read_image,
    rgb_to_id_map,
    segment_extents,
    write_coco_panoptic,
    write_id_map,
)
from pfpn.files import KEPT, ClaimedError
from pfpn.structures import Category, Panoptic, Sample, Segment

SKY, ROAD = Category(3, "sky", False, (1, 2, 3)), Category(8, "road", False)
CAR, MAN = Category(5, "car", True), Category(11, "man", True)
CATEGORIES = [ROAD, MAN, SKY, CAR]  # in no order: labels follow ascending ids

SEGMENTS = (
    Segment(300, 1, False),
    Segment(70000, 0, True),
    Segment(9, 1, True, is_crowd=True),
)


def sample_of(image_id: int | str = 7, size: tuple[int, int] = (4, 6), seed: int = 0) -> Sample:
    """A sky, a car and a crowd of men, void below; noise as the photograph."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, *size), generator=rng, dtype=torch.uint8)
    id_map = torch.zeros(size, dtype=torch.int64)
    id_map[:2] = 300
    id_map[1:3, 1:4] = 70000
    id_map[1:, 4:] = 9
    return Sample(image, Panoptic(id_map, SEGMENTS), image_id)


def assert_same(a: Sample, b: Sample) -> None:
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.panoptic.id_map, b.panoptic.id_map)
    assert a.image.dtype == b.image.dtype
    assert a.panoptic.id_map.dtype == b.panoptic.id_map.dtype
    assert set(a.panoptic.segments) == set(b.panoptic.segments)
    assert a.image_id == b.image_id


def edit(root: Path, split: str, change) -> None:
    """Change the JSON content of a split in place."""
    path = root / "annotations" / f"panoptic_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path) -> Path:
    write_coco_panoptic(tmp_path, "val", [sample_of(7), sample_of(12, (5, 3), 1)], CATEGORIES)
    return tmp_path


# -- ids and colors


def test_an_id_is_red_plus_256_green_plus_65536_blue():
    rgb = torch.tensor([[1, 0, 0, 255], [0, 1, 0, 255], [0, 0, 1, 255]], dtype=torch.uint8)
    assert rgb_to_id_map(rgb[:, None]).tolist() == [[1, 256, 65536, MAX_ID]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, MAX_ID), min_size=1, max_size=20))
def test_ids_survive_being_colors(ids):
    id_map = torch.tensor([ids])
    assert torch.equal(rgb_to_id_map(id_map_to_rgb(id_map)), id_map)


@pytest.mark.parametrize("bad", [-1, MAX_ID + 1])
def test_an_id_that_is_no_color_is_refused(bad):
    with pytest.raises(ValueError, match=f"found ids from .*{bad}"):
        id_map_to_rgb(torch.tensor([[0, bad]]))


# -- PNGs


def encode(pixels: np.ndarray, mode: str | None = None, **options) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(stream, "PNG", **options)
    return stream.getvalue()


def png_of(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


COLORS = np.random.default_rng(0).integers(0, 256, size=(11, 7, 3), dtype=np.uint8)
IDS = (COLORS.astype(np.int64) * [1, 256, 65536]).sum(-1)


def test_an_rgb_png_is_read(tmp_path):
    ids = read_id_map(png_of(tmp_path / "a.png", encode(COLORS)))
    assert ids.dtype == np.int32
    assert np.array_equal(ids, IDS)
    assert ids.flags.writeable


def test_alpha_means_nothing(tmp_path):
    alpha = np.random.default_rng(1).integers(0, 256, size=(11, 7, 1), dtype=np.uint8)
    content = encode(np.concatenate([COLORS, alpha], axis=2))
    assert np.array_equal(read_id_map(png_of(tmp_path / "a.png", content)), IDS)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_is_read_as_its_colors(tmp_path, bits):
    indices = np.random.default_rng(0).integers(0, min(2**bits, 200), size=(9, 13), dtype=np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, size=(256, 3), dtype=np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG", bits=bits)
    expected = (palette[indices].astype(np.int64) * [1, 256, 65536]).sum(-1)
    assert np.array_equal(read_id_map(png_of(tmp_path / "a.png", stream.getvalue())), expected)


def test_a_color_that_stands_for_transparent_is_still_its_id(tmp_path):
    content = encode(COLORS, transparency=tuple(COLORS[0, 0].tolist()))
    assert b"tRNS" in content
    assert np.array_equal(read_id_map(png_of(tmp_path / "a.png", content)), IDS)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(header: tuple, rows: bytes) -> bytes:
    """A PNG from scratch: header (width, height, depth, color, 0, 0, interlace) and raw rows."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])


def test_an_interlaced_png_is_read(tmp_path):
    pixels = COLORS[:2, :2]  # of Adam7's passes, 2x2 pixels fill 1 (0, 0), 6 (0, 1), 7 (row 1)
    passes = (pixels[0, :1], pixels[0, 1:], pixels[1])
    rows = b"".join(b"\0" + part.tobytes() for part in passes)
    content = png((2, 2, 8, 2, 0, 0, 1), rows)
    assert np.array_equal(read_id_map(png_of(tmp_path / "a.png", content)), IDS[:2, :2])


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_a_gray_png_is_refused(tmp_path, mode):
    path = png_of(tmp_path / "a.png", encode(COLORS, mode))
    with pytest.raises(FormatError, match=r"a\.png, image 5: found a gray PNG, expected an RGB"):
        read_id_map(path, image_id=5)


def test_16_bits_per_channel_are_refused(tmp_path):
    path = png_of(tmp_path / "a.png", png((1, 1, 16, 2, 0, 0, 0), bytes(7)))
    with pytest.raises(FormatError, match="found 16 bits per channel, expected 8"):
        read_id_map(path)


def test_every_cut_of_a_png_is_reported(tmp_path):
    content = encode(COLORS)
    for length in [*range(0, len(content), 11), *range(len(content) - 13, len(content))]:
        with pytest.raises(FormatError, match=r"a\.png: found"):
            read_id_map(png_of(tmp_path / "a.png", content[:length]))


def test_every_flipped_byte_of_a_png_is_reported(tmp_path):
    content = encode(COLORS)
    chooser = random.Random(0)
    for place in chooser.sample(range(8, len(content)), 60):
        broken = bytearray(content)
        broken[place] ^= 1 << chooser.randrange(8)
        with pytest.raises(FormatError, match=r"a\.png: found"):
            read_id_map(png_of(tmp_path / "a.png", bytes(broken)))


@pytest.mark.parametrize("rows", [b"", bytes(10), bytes(13) + b"\x09" + bytes(40)])
def test_pixels_that_do_not_unpack_are_reported_in_one_line(tmp_path, rows):
    path = png_of(tmp_path / "a.png", png((4, 4, 8, 2, 0, 0, 0), rows))  # too few, a wrong filter
    with pytest.raises(FormatError, match="found pixels that cannot be read") as caught:
        read_id_map(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"), [(b"", "an empty file"), (b"GIF89a", "a file that is no PNG")]
)
def test_what_is_no_png_is_reported(tmp_path, content, found):
    with pytest.raises(FormatError, match=found):
        read_id_map(png_of(tmp_path / "a.png", content))


def test_a_missing_png_is_reported(tmp_path):
    with pytest.raises(FormatError, match=r"a\.png: found no such file, expected an id PNG"):
        read_id_map(tmp_path / "a.png")


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_ids_survive_a_png(tmp_path_factory, height, width, seed):
    rng = torch.Generator().manual_seed(seed)
    few = torch.randint(0, MAX_ID + 1, (6,), generator=rng)
    id_map = few[torch.randint(0, 6, (height, width), generator=rng)]
    path = tmp_path_factory.mktemp("ids") / "a.png"
    write_id_map(path, id_map)
    assert np.array_equal(read_id_map(path), id_map.numpy())


# -- photographs


def test_a_photograph_is_upright_as_exif_says(tmp_path):
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16, 0] = 255  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left comes to the top
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 32, 16)
    assert image[0, :16].eq(255).all()
    assert image[:, 16:].eq(0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_of_every_orientation_is_what_pil_makes_of_it(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        upright = np.array(ImageOps.exif_transpose(image))
    assert upright.shape == ((5, 9, 3) if orientation <= 4 else (9, 5, 3))
    assert np.array_equal(read_image(tmp_path / "a.jpg").permute(1, 2, 0).numpy(), upright)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_a_photograph_of_any_mode_becomes_rgb(tmp_path, mode):
    gray = np.full((5, 4, 3), 120, dtype=np.uint8)
    name = "a.jpg" if mode == "CMYK" else "a.png"
    image = Image.fromarray(gray)
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.shape == (3, 5, 4)
    assert image.dtype == torch.uint8
    assert (image.int() - 120).abs().max() <= 2


def test_a_broken_photograph_is_reported(tmp_path):
    content = encode(COLORS)
    png_of(tmp_path / "a.jpg", content[: len(content) // 2])
    with pytest.raises(FormatError, match=r"a\.jpg: found an image that cannot be read"):
        read_image(tmp_path / "a.jpg")


# -- areas and boxes


@pytest.mark.parametrize("seed", range(10))
def test_areas_and_boxes_equal_those_of_masks(seed):
    rng = np.random.default_rng(seed)
    id_map = rng.choice([0, 3, 900, MAX_ID], size=rng.integers(1, 12, size=2))
    expected = {}
    for number in set(id_map.flat) - {0}:
        y, x = np.nonzero(id_map == number)
        box = [min(x), min(y), max(x) + 1 - min(x), max(y) + 1 - min(y)]
        expected[number] = (len(x), box)
    assert segment_extents(id_map) == expected


def test_an_empty_map_has_no_areas():
    assert segment_extents(np.zeros((0, 4), dtype=np.int32)) == {}


# -- writing and reading back


def test_a_sample_comes_back_as_it_was_written(root):
    data = CocoPanoptic(root, "val")
    assert len(data) == 2
    assert data.image_ids == [7, 12]
    assert data.categories == CATEGORIES
    assert data.sizes() == [(4, 6), (5, 3)]
    assert_same(data[0], sample_of(7))
    assert data[1].image.shape == (3, 5, 3)
    assert data[-1].image_id == 12
    with pytest.raises(IndexError):
        data[2]


def test_the_json_says_what_coco_says(root):
    content = json.loads((root / "annotations" / "panoptic_val.json").read_text())
    assert content["images"][0] == {
        "id": 7,
        "file_name": "000000000007.png",
        "height": 4,
        "width": 6,
    }
    assert content["categories"][2] == {"id": 3, "name": "sky", "isthing": 0, "color": [1, 2, 3]}
    annotation = content["annotations"][0]
    assert (annotation["image_id"], annotation["file_name"]) == (7, "000000000007.png")
    by_id = {segment["id"]: segment for segment in annotation["segments_info"]}
    assert by_id[300] == {
        "id": 300,
        "category_id": 3,
        "area": 7,
        "bbox": [0, 0, 6, 2],
        "iscrowd": 0,
    }
    assert by_id[70000]["bbox"] == [1, 1, 3, 2]
    assert (by_id[9]["category_id"], by_id[9]["iscrowd"], by_id[9]["area"]) == (11, 1, 6)


def test_a_jpeg_keeps_the_truth_and_nearly_the_image(tmp_path):
    sample = sample_of(7, (40, 60))
    smooth = Sample(torch.full((3, 40, 60), 90, dtype=torch.uint8), sample.panoptic, 7)
    write_coco_panoptic(tmp_path, "val", [smooth], CATEGORIES, suffix=".jpg")
    assert (tmp_path / "val" / "000000000007.jpg").is_file()
    back = CocoPanoptic(tmp_path, "val")[0]
    assert torch.equal(back.panoptic.id_map, sample.panoptic.id_map)
    assert (back.image.int() - 90).abs().max() <= 2


def test_segments_without_a_pixel_are_not_written():
    panoptic = Panoptic(torch.zeros((2, 2), dtype=torch.int64), SEGMENTS)
    annotation = make_annotation(panoptic, 1, "a.png", LabelMap(tuple(CATEGORIES)))
    assert annotation == {"image_id": 1, "file_name": "a.png", "segments_info": []}


def test_a_score_is_kept_in_the_json():
    panoptic = Panoptic(torch.ones((2, 2), dtype=torch.int64), (Segment(1, 0, True, 0.75),))
    annotation = make_annotation(panoptic, 1, "a.png", LabelMap(tuple(CATEGORIES)))
    assert annotation["segments_info"][0]["score"] == 0.75


def test_an_unlisted_id_is_not_written():
    panoptic = Panoptic(torch.full((2, 2), 5), SEGMENTS)
    with pytest.raises(ValueError, match="image 1: segment id 5 is painted"):
        make_annotation(panoptic, 1, "a.png", LabelMap(tuple(CATEGORIES)))


def test_a_writer_that_fails_leaves_no_json(tmp_path):
    with pytest.raises(RuntimeError), CocoWriter(tmp_path, "val", CATEGORIES) as writer:  # noqa: PT012
        writer.add(sample_of())
        raise RuntimeError
    assert list((tmp_path / "annotations").glob("*.json")) == []
    with pytest.raises(ValueError, match="found no such file"):
        CocoPanoptic(tmp_path, "val")


def test_nothing_temporary_is_left(root):
    paths = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    names = [path.name for path in paths if path.parts[0] != KEPT]
    assert not list(root.rglob("*.tmp"))
    assert sorted(names) == sorted(
        ["panoptic_val.json", *2 * ["000000000007.png", "000000000012.png"]]
    )


def test_a_data_set_is_overwritten_only_on_demand(root):
    with pytest.raises(ValueError, match=r"panoptic_val\.json: found a data set, expected none"):
        write_coco_panoptic(root, "val", [], CATEGORIES)
    assert len(CocoPanoptic(root, "val")) == 2
    write_coco_panoptic(root, "val", [sample_of(3)], CATEGORIES, overwrite=True)
    assert CocoPanoptic(root, "val").image_ids == [3]


def test_an_image_is_written_once(tmp_path):
    with CocoWriter(tmp_path, "val", CATEGORIES) as writer:
        writer.add(sample_of(7))
        with pytest.raises(ValueError, match="image 7: found it twice"):
            writer.add(sample_of(7))
    assert CocoPanoptic(tmp_path, "val").image_ids == [7]


def test_a_writer_writes_within_its_block_only(tmp_path):
    writer = CocoWriter(tmp_path, "val", CATEGORIES)
    with pytest.raises(ValueError, match="expected to write within one"):
        writer.add(sample_of(7))
    assert list(tmp_path.iterdir()) == []


def test_an_image_and_its_truth_must_be_of_one_size(tmp_path):
    sample = sample_of(7)
    wrong = Sample(sample.image[:, :2], sample.panoptic, 7)
    refused = pytest.raises(ValueError, match=r"image 7: found an image of size \(2, 6\)")
    with refused, CocoWriter(tmp_path, "val", CATEGORIES) as writer:
        writer.add(wrong)


def test_a_data_set_without_images_is_a_data_set(tmp_path):
    write_coco_panoptic(tmp_path, "val", [], CATEGORIES)
    assert len(CocoPanoptic(tmp_path, "val")) == 0


# -- reading what others wrote


def test_an_image_is_found_by_its_stem(root):
    path = root / "val" / "000000000007.png"
    path.rename(path.with_suffix(".jpeg"))  # PIL looks at the content, not at the name
    assert_same(CocoPanoptic(root, "val")[0], sample_of(7))


def test_iscrowd_area_and_bbox_may_be_missing(root):
    def strip(content):
        for segment in content["annotations"][0]["segments_info"]:
            for key in ("iscrowd", "area", "bbox"):
                del segment[key]

    edit(root, "val", strip)
    segments = CocoPanoptic(root, "val")[0].panoptic.segments
    assert {(s.id, s.is_crowd) for s in segments} == {(300, False), (70000, False), (9, False)}


def test_a_listed_segment_without_a_pixel_is_left_out(root):
    edit(
        root,
        "val",
        lambda c: c["annotations"][0]["segments_info"].append({"id": 44, "category_id": 5}),
    )
    assert_same(CocoPanoptic(root, "val")[0], sample_of(7))


def test_a_painted_id_that_is_not_listed_is_refused(root):
    edit(root, "val", lambda c: c["annotations"][0]["segments_info"].pop(0))
    with pytest.raises(FormatError, match=r"000000000007\.png, image 7, segment 9"):
        CocoPanoptic(root, "val")[0]


def test_an_image_of_another_size_is_refused(root):
    Image.fromarray(COLORS).save(root / "val" / "000000000007.png")
    with pytest.raises(FormatError, match=r"image 7: found an image of size \(11, 7\).*\(4, 6\)"):
        CocoPanoptic(root, "val")[0]


def test_a_missing_split_is_refused_with_those_that_are_there(root):
    with pytest.raises(ValueError, match=r"panoptic_train\.json: .*there are the splits val"):
        CocoPanoptic(root, "train")


def test_a_packed_folder_is_refused_with_the_remedy(root):
    folder = root / "annotations" / "panoptic_val"
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ValueError, match=r"found no such folder, .* of val$"):
        CocoPanoptic(root, "val")
    folder.with_suffix(".zip").write_bytes(b"")
    with pytest.raises(ValueError, match=r"unpack panoptic_val\.zip there"):
        CocoPanoptic(root, "val")


def set_in(*path_and_value):
    """Return a change of the JSON: the last argument is put where the others lead."""
    *path, last, value = path_and_value

    def change(content):
        for step in path:
            content = content[step]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("annotations", 0, "segments_info", None), "image 7: found segments_info null"),
        (set_in("annotations", 0, "segments_info", 0, "category_id", 4), "found category_id 4"),
        (set_in("annotations", 0, "segments_info", 0, "id", 300), "300: found the id listed twice"),
        (set_in("annotations", 0, "segments_info", 0, "id", 0), "0 is void and not listed"),
        (set_in("annotations", 0, "segments_info", 0, "id", MAX_ID + 1), f"1 to {MAX_ID}"),
        (set_in("annotations", 0, "segments_info", 0, "id", "9"), "an integer id"),
        (set_in("annotations", 0, "segments_info", 0, "iscrowd", 2), "iscrowd 2, expected 0 or 1"),
        (set_in("annotations", 0, "image_id", 12), "image 12: found a second annotation"),
        (set_in("annotations", 0, "image_id", 4), "image 4: .*an image that is not listed"),
        (
            set_in("annotations", 0, "file_name", None),
            "image 7: found an annotation with file_name null",
        ),
        (set_in("images", 1, "id", 7), "image 7: found the image listed twice"),
        (set_in("images", 0, "height", None), "image 7: found an image with height null"),
        (set_in("images", 0, "width", 0), "image 7: found an image with width 0"),
        (set_in("images", 0, "file_name", 3), "image 7: found an image with file_name 3"),
        (set_in("categories", 0, "id", 3), "found category 3 twice"),
        (set_in("annotations", {}), "found annotations {}, expected a list"),
        (set_in("annotations", 0, 5), "found annotation 5, expected an object"),
    ],
)
def test_a_broken_json_is_refused_with_its_place(root, change, message):
    edit(root, "val", change)
    with pytest.raises(ValueError, match=rf"panoptic_val\.json.*{message}"):
        CocoPanoptic(root, "val")


# -- names from data, aliases


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("images", 0, "id", "../../holiday"), "a slash or backslash"),
        (set_in("images", 0, "id", "/etc/x"), "a slash or backslash"),
        (set_in("images", 0, "id", [7]), "found an image {"),
        (set_in("images", 0, "file_name", "../../holiday.png"), "only dots and spaces"),
        (set_in("images", 0, "file_name", "a\0b"), "a control character"),
        (set_in("annotations", 0, "image_id", [7]), r"an image \[7\] that is not listed"),
        (set_in("annotations", 0, "file_name", "/etc/passwd"), "no character"),
        (set_in("annotations", 0, "file_name", "a\0b"), "a control character"),
        (set_in("annotations", 0, "segments_info", 0, "id", 2**70), "segment id 118059"),
        (set_in("categories", 0, "id", 2**40), "a category with id 1099511627776"),
        (set_in("categories", 0, "name", "x\x1b[2K"), "a name without control characters"),
        (set_in("folders", {"truth": "/etc"}), "no character"),
    ],
)
def test_names_and_numbers_that_are_not_plain_are_refused_where_they_enter(root, change, message):
    edit(root, "val", change)
    with pytest.raises(ValueError, match=message) as raised:
        CocoPanoptic(root, "val")
    assert str(raised.value).isprintable()


def test_an_image_is_not_read_in_the_place_of_a_missing_one(root):
    edit(root, "val", set_in("images", 0, "file_name", "000000000012.jpg"))
    data = CocoPanoptic(root, "val")
    assert data[1].image_id == 12
    with pytest.raises(FormatError, match=r"000000000012\.jpg: found no such file"):
        data[0]


def test_a_size_that_does_not_fit_mentions_exif(root):
    path = root / "val" / "000000000007.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)
    with pytest.raises(FormatError, match=r"turned by its EXIF orientation 6; stored as \(4, 6\)"):
        CocoPanoptic(root, "val")[0]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_image_ids_may_be_names(tmp_path, suffix):
    samples = [sample_of("ulm_000000_000019"), sample_of("b"), sample_of(-3)]
    write_coco_panoptic(tmp_path, "val", samples, CATEGORIES, suffix=suffix)
    data = CocoPanoptic(tmp_path, "val")
    assert data.image_ids == ["ulm_000000_000019", "b", -3]
    assert data.problems() == []
    names = {path.stem for path in (tmp_path / "val").iterdir()}
    assert names == {"ulm_000000_000019", "00000000000b", "-00000000003"}
    if suffix == ".png":
        for one, other in zip(data, samples, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("bad", ["../../holiday", "/etc/x", "a\0b"])
def test_an_image_id_that_is_no_plain_name_is_not_written(bad, tmp_path):
    with pytest.raises(ValueError, match="expected a plain one"):
        write_coco_panoptic(tmp_path / "root", "val", [sample_of(bad)], CATEGORIES)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {
        "files.jsonl", *(path.name for path in tmp_path.rglob("*.lock"))
    }  # fmt: skip


def test_two_ids_that_make_one_file_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'000000000007' twice"):
        write_coco_panoptic(tmp_path, "val", [sample_of(7), sample_of("7")], CATEGORIES)


def test_a_writer_replaces_only_what_pfpn_wrote(root):
    path = root / "val" / "000000000007.png"
    mine = encode(COLORS)
    path.write_bytes(mine)  # painted over by hand
    with pytest.raises(ValueError, match="changed since"):
        write_coco_panoptic(root, "val", [sample_of(7)], CATEGORIES, overwrite=True)
    assert path.read_bytes() == mine
    json_path = root / "annotations" / "panoptic_train.json"
    json_path.write_text("{}")
    with pytest.raises(ValueError, match="another origin"):
        write_coco_panoptic(root, "train", [sample_of(7)], CATEGORIES, overwrite=True)
    assert json_path.read_text() == "{}"
    assert not (root / "train").exists()


def test_a_split_is_written_by_one_process_at_a_time(tmp_path):
    with CocoWriter(tmp_path, "val", CATEGORIES):
        with pytest.raises(ClaimedError), CocoWriter(tmp_path, "val", CATEGORIES):
            pass
        with CocoWriter(tmp_path, "train", CATEGORIES):
            pass


# -- what would stop a training


def test_a_data_set_without_problems_has_none(root):
    steps = []
    data = CocoPanoptic(root, "val")
    assert data.problems(lambda done, total: steps.append((done, total))) == []
    assert steps == [(1, 2), (2, 2)]


def test_all_problems_are_listed_at_once(root):
    data = CocoPanoptic(root, "val")
    images, truth = root / "val", root / "annotations" / "panoptic_val"
    (images / "000000000007.png").write_bytes(b"")
    (truth / "000000000007.png").unlink()
    Image.fromarray(COLORS).save(images / "000000000012.png")
    write_id_map(truth / "000000000012.png", torch.full((2, 2), 300))
    lines = data.problems()
    assert len(lines) == 4
    for line, words in zip(
        lines,
        (
            ("panoptic_val/000000000007.png, image 7", "no such file"),
            ("val/000000000007.png, image 7", "cannot be read"),
            ("panoptic_val/000000000012.png, image 12", "(2, 2), expected (5, 3) as in the JSON"),
            ("val/000000000012.png, image 12", "(11, 7), expected (5, 3) as in the JSON"),
        ),
        strict=True,
    ):
        assert all(word in line for word in words), line


def test_problems_of_the_whole_are_listed(root):
    def change(content):
        content["categories"] = [{"id": i, "name": f"n{i}", "isthing": 0} for i in range(1, 256)]
        content["images"][1]["file_name"] = content["images"][0]["file_name"]
        content["images"][1].update(height=4, width=6)

    edit(root, "val", change)
    lines = "\n".join(CocoPanoptic(root, "val").problems())
    assert "255 stuff classes, expected at most 254" in lines
    assert "image 12: found the file of image 7, too" in lines
    write_coco_panoptic(root, "empty", [], CATEGORIES)
    assert "found no image, expected at least one" in CocoPanoptic(root, "empty").problems()[0]


# -- the real thing


def test_the_coco_sample_reads(shared):
    data = CocoPanoptic(shared / "data" / "coco_panoptic_sample", "val2017")
    assert data.image_ids == [142238, 439180]
    first, second = data
    assert first.image.shape == (3, 427, 640)
    assert [s.is_thing for s in first.panoptic.segments].count(True) == 15
    crowds = [s for s in second.panoptic.segments if s.is_crowd]
    assert len(second.panoptic.segments) == 32
    assert [s.is_thing for s in crowds] == [True, True]
    void = (second.panoptic.id_map == 0).float().mean()
    assert void == pytest.approx(0.0312, abs=1e-4)


def test_the_coco_sample_survives_being_written(shared, tmp_path):
    data = CocoPanoptic(shared / "data" / "coco_panoptic_sample", "val2017")
    write_coco_panoptic(tmp_path, "again", data, data.categories)
    again = CocoPanoptic(tmp_path, "again")
    for i in range(2):
        assert_same(data[i], again[i])


def test_camvid_reads(shared):
    data = CocoPanoptic(shared / "data" / "camvid_panoptic", "val")
    assert len(data) == 40
    assert [c.name for c in data.categories if c.is_thing] == ["Car", "Pedestrian", "Bicyclist"]
    assert data[0].image.shape == (3, 360, 480)
