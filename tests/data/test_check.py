import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.cli import main
from pfpn.data.check import check
from pfpn.data.coco import CocoPanoptic, Finding, write_coco_panoptic, write_id_map
from pfpn.structures import Category, Panoptic, Sample, Segment

SKY, CAR = Category(3, "sky", False), Category(5, "car", True)
PNG = "000000000007.png"


def sample_of(image_id: int) -> Sample:
    """Sky over a car, void below; image 7 has 4 rows of 6 pixels."""
    id_map = torch.tensor([[300] * 6, [300, 20, 20, 20, 300, 300], [0, 20, 20, 20, 0, 0], [0] * 6])
    image = (id_map % 256).to(torch.uint8).expand(3, -1, -1)
    return Sample(image, Panoptic(id_map, (Segment(300, 1, False), Segment(20, 0, True))), image_id)


@pytest.fixture
def root(tmp_path) -> Path:
    write_coco_panoptic(tmp_path, "val", [sample_of(7), sample_of(12)], [SKY, CAR])
    return tmp_path


def edit(root: Path, change) -> None:
    path = root / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def findings(root: Path) -> list[tuple]:
    """The findings as tuples, files by their last two names."""
    return [
        ("/".join(Path(f.file).parts[-2:]), f.image_id, f.segment_id, f.found, f.expected)
        for f in check(root, "val")
    ]


JSON = "annotations/panoptic_val.json"


def test_a_data_set_as_written_has_no_findings(root):
    assert check(root, "val") == []


def test_a_finding_is_one_line_that_says_where_what_and_what_instead():
    finding = Finding("a.json", 7, 20, "area 3", "6 as in the PNG")
    assert str(finding) == "a.json, image 7, segment 20: found area 3, expected 6 as in the PNG"
    assert str(Finding("a.png", None, None, "b", "c")) == "a.png: found b, expected c"


# -- files


def test_a_missing_image_and_png_are_found(root):
    (root / "val" / PNG).unlink()
    (root / "annotations" / "panoptic_val" / PNG).unlink()
    assert findings(root) == [
        (f"panoptic_val/{PNG}", 7, None, "no such file", "an id PNG"),
        (f"val/{PNG}", 7, None, "no such file", "an image"),
    ]


def test_broken_files_are_found(root):
    for path in (root / "val" / PNG, root / "annotations" / "panoptic_val" / PNG):
        path.write_bytes(path.read_bytes()[:-20])
    png, image = findings(root)
    assert png[:3] == (f"panoptic_val/{PNG}", 7, None)
    assert png[3].startswith("a PNG cut off after")
    assert image[:3] == (f"val/{PNG}", 7, None)
    assert image[3].startswith("an image that cannot be read")


def test_a_gray_png_is_found(root):
    gray = np.zeros((4, 6), dtype=np.uint8)
    Image.fromarray(gray).save(root / "annotations" / "panoptic_val" / PNG)
    (finding,) = findings(root)
    assert finding[3] == "a gray PNG"


def test_an_image_of_another_size_is_found(root):
    Image.fromarray(np.zeros((6, 4, 3), dtype=np.uint8)).save(root / "val" / PNG)
    assert findings(root) == [
        (f"val/{PNG}", 7, None, "height and width (6, 4)", "(4, 6) as in its PNG")
    ]


def test_a_png_of_another_size_is_found_beside_its_areas(root):
    write_id_map(root / "annotations" / "panoptic_val" / PNG, torch.full((2, 2), 300))
    assert findings(root) == [
        (f"panoptic_val/{PNG}", 7, None, "height and width (2, 2)", "(4, 6) as in the JSON"),
        (JSON, 7, 20, "no pixel of a listed segment", "at least one in the PNG"),
        (JSON, 7, 300, "area 9", "4 as in the PNG"),
        (JSON, 7, 300, "bbox [0, 0, 6, 2]", "[0, 0, 2, 2] as in the PNG (x, y, width, height)"),
        (f"val/{PNG}", 7, None, "height and width (4, 6)", "(2, 2) as in its PNG"),
    ]


def test_sizes_in_the_json_are_compared(root):
    edit(root, lambda c: c["images"][0].update(height=5))
    assert [(f[0], f[3], f[4]) for f in findings(root)] == [
        (f"panoptic_val/{PNG}", "height and width (4, 6)", "(5, 6) as in the JSON"),
        (f"val/{PNG}", "height and width (4, 6)", "(5, 6) as in the JSON"),
    ]


def test_files_that_nothing_names_are_found(root):
    for folder in (root / "val", root / "annotations" / "panoptic_val"):
        (folder / "more").mkdir()
        (folder / "more" / "x.png").write_bytes((folder / PNG).read_bytes())
        (folder / "notes.txt").write_text("none of our business")
    found = [(f[0], f[3]) for f in findings(root)]
    assert found == 2 * [("more/x.png", "a file that nothing names")]


def test_missing_folders_are_found(root):
    (root / "val").rename(root / "elsewhere")
    found = findings(root)
    assert [f[3] for f in found] == ["no such file", "no such file", "no such folder"]


# -- segments


def segments(content, image=0):
    return content["annotations"][image]["segments_info"]


def segment(content, number):
    return next(s for s in segments(content) if s["id"] == number)


@pytest.mark.parametrize(
    ("change", "segment_id", "found", "expected"),
    [
        (
            lambda c: segments(c).remove(segment(c, 20)),
            20,
            "an id that is painted (6 px) and not listed",
            "each painted id in segments_info",
        ),
        (
            lambda c: segments(c).append(segment(c, 20) | {"id": 21}),
            21,
            "no pixel of a listed segment",
            "at least one in the PNG",
        ),
        (lambda c: segment(c, 20).update(area=5), 20, "area 5", "6 as in the PNG"),
        (
            lambda c: segment(c, 20).update(bbox=[1, 1, 2, 2]),
            20,
            "bbox [1, 1, 2, 2]",
            "[1, 1, 3, 2] as in the PNG (x, y, width, height)",
        ),
        (lambda c: segment(c, 20).pop("area"), 20, "no area", "its area"),
        (lambda c: segment(c, 20).pop("iscrowd"), 20, "no iscrowd", "its iscrowd"),
        (lambda c: segment(c, 20).pop("bbox"), 20, "no bbox", "bbox [1, 1, 3, 2]"),
        (lambda c: segment(c, 20).update(iscrowd=3), 20, "iscrowd 3", "0 or 1"),
        (
            lambda c: segments(c).append(segment(c, 20)),
            20,
            "the id listed twice",
            "each id once in an image",
        ),
        (
            lambda c: segment(c, 20).update(category_id=77),
            20,
            "category_id 77",
            "one of the categories",
        ),
        (
            lambda c: segments(c).append({"id": 0, "category_id": 3}),
            0,
            "segment id 0",
            "1 to 16777215; 0 is void and not listed",
        ),
        (
            lambda c: segments(c).append({"category_id": 3}),
            None,
            'a segment {"category_id": 3}',
            "an object with an integer id",
        ),
    ],
)
def test_each_wrong_segment_is_one_finding(root, change, segment_id, found, expected):
    edit(root, change)
    assert findings(root) == [(JSON, 7, segment_id, found, expected)]


def test_everything_wrong_is_listed_not_the_first_thing_only(root):
    def change(content):
        segment(content, 20).update(area=5, bbox=[0, 0, 1, 1], category_id=9)
        segments(content, 1)[0]["area"] += 1

    edit(root, change)
    assert [(f[1], f[3].split()[0]) for f in findings(root)] == [
        (7, "category_id"),
        (7, "area"),
        (7, "bbox"),
        (12, "area"),
    ]


# -- structure


def test_an_image_without_annotation_is_found_and_still_read(root):
    edit(root, lambda c: c["annotations"].pop(0))
    (root / "val" / PNG).write_bytes(b"")
    found = findings(root)
    assert found[0] == (JSON, 7, None, f"no annotation of {PNG}", "one per image")
    assert found[1][3].startswith("an image that cannot be read")
    assert found[2][:4] == (f"panoptic_val/{PNG}", None, None, "a file that nothing names")


def test_an_annotation_without_image_is_found(root):
    edit(root, lambda c: c["images"].pop(0))
    assert [(f[0], f[1], f[3]) for f in findings(root)] == [
        (JSON, 7, "an annotation of image 7"),
        (f"val/{PNG}", None, "a file that nothing names"),
    ]


def test_annotations_and_images_listed_twice_are_found(root):
    def change(content):
        content["annotations"].append(content["annotations"][0])
        content["images"].append(content["images"][0])

    edit(root, change)
    assert [(f[1], f[3]) for f in findings(root)] == [
        (7, "the image listed twice"),
        (7, "a second annotation"),
        (7, f"{PNG} used twice"),
    ]


def test_two_images_of_one_file_are_found(root):
    edit(root, lambda c: c["images"][1].update(file_name=PNG))
    assert [(f[1], f[3]) for f in findings(root)] == [
        (12, f"{PNG} used twice"),
        (None, "a file that nothing names"),
    ]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c.pop("categories"), "no categories"),
        (lambda c: c.pop("images"), "no images"),
        (lambda c: c.pop("annotations"), "no annotations"),
        (lambda c: c["images"].append(5), "an image 5"),
        (lambda c: c["images"][0].update(height="4"), 'an image with height "4"'),
        (lambda c: c["annotations"][0].pop("file_name"), "an annotation with file_name null"),
        (lambda c: c["annotations"][0].pop("image_id"), "an annotation of image null"),
        (lambda c: c["annotations"][0].update(segments_info=4), "segments_info 4"),
        (lambda c: c["categories"].append({"id": 3, "isthing": 0}), "category 3 twice"),
        (lambda c: c["categories"][0].pop("name"), "category 3 with name null"),
        (lambda c: c["categories"][0].update(name="car"), 'the name "car" of category 5 twice'),
        (lambda c: c["categories"][0].update(isthing=7), "category 3 with isthing 7"),
    ],
)
def test_a_broken_structure_is_found_and_the_rest_still_read(root, change, found):
    edit(root, change)
    assert found in [f[3] for f in findings(root)]


# -- names, aliases, EXIF


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c["images"][0].update(file_name="/etc/passwd"), "no character"),
        (lambda c: c["images"][0].update(file_name="../../holiday.png"), "only dots and spaces"),
        (lambda c: c["images"][0].update(file_name="a\0b.png"), "a control character"),
        (lambda c: c["images"][0].update(file_name="/"), "no character"),
        (lambda c: c["images"][0].update(file_name=["x"]), 'file_name ["x"]'),
        (lambda c: c["images"][0].update(id="../../holiday"), "a slash or backslash"),
        (lambda c: c["images"][0].update(id="/etc/x"), "a slash or backslash"),
        (lambda c: c["images"][0].update(id="x\x1b[2K"), "a control character"),
        (lambda c: c["images"][0].update(id=[7]), "an image {"),
        (lambda c: c["images"][0].update(id=2**70), "an image with id 1180591620717411303424"),
        (lambda c: c["annotations"][0].update(image_id=[7]), "an annotation of image [7]"),
        (lambda c: c["annotations"][0].update(image_id={}), "an annotation of image {}"),
        (lambda c: c["annotations"][0].update(file_name="a\0.png"), "a control character"),
        (lambda c: c["annotations"][0].update(file_name="/"), "no character"),
        (lambda c: c["annotations"][0].update(file_name="x" * 300), "300 bytes"),
        (lambda c: c["annotations"].append(5), "annotation 5"),
        (lambda c: c["categories"][0].update(id=2**40), "a category with id 1099511627776"),
        (lambda c: c["categories"][0].update(name="a\x1b[2K\r0 findings"), "a\\u001b[2K\\r0 f"),
        (lambda c: segments(c)[0].update(id=2**70), "segment id 1180591620717411303424"),
        (lambda c: segments(c)[0].update(bbox={"x": 1}), 'bbox {"x": 1}'),
        (lambda c: c.update(folders={"images": "../elsewhere"}), "only dots and spaces"),
        (lambda c: c.update(folders=7), "folders 7"),
    ],
)
def test_one_wrong_entry_is_found_and_the_other_image_still_read(root, change, found):
    edit(root, lambda c: segments(c, 1)[0].update(area=1))
    edit(root, change)
    lines = [str(finding) for finding in check(root, "val")]
    assert any(found in line for line in lines), lines
    assert any("image 12, segment 20: found area 1, expected 6" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_file_that_cannot_be_read_is_found_and_the_rest_still_read(root):
    (root / "annotations" / "panoptic_val" / PNG).unlink()
    (root / "annotations" / "panoptic_val" / PNG).mkdir()
    (root / "val" / PNG).unlink()
    (root / "val" / PNG).mkdir()
    edit(root, lambda c: segments(c, 1)[0].update(area=1))
    assert [f[1] for f in findings(root)] == [7, 7, 12]


def test_two_entries_that_read_one_file_are_found(root):
    # The first one's file is missing; the second one's differs in its suffix only.
    edit(root, lambda c: c["images"][0].update(file_name="000000000012.jpg"))
    assert [(f[1], f[3]) for f in findings(root)] == [
        (7, "no such file"),
        (None, "a file that nothing names"),
    ]
    # Both are missing, and a third suffix would stand in for them.
    edit(root, lambda c: c["images"][1].update(file_name="000000000012.jpeg"))
    assert [f[3] for f in findings(root)].count("no such file") == 2


def test_a_link_to_another_image_is_found(root):
    (root / "val" / PNG).unlink()
    (root / "val" / PNG).symlink_to("000000000012.png")
    assert [(f[1], f[3]) for f in findings(root)] == [
        (12, f"000000000012.png used twice, for it is the file of {PNG}")
    ]


def turn(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_an_image_that_exif_turns_within_its_size_is_found(root, orientation):
    turn(root / "val" / PNG, orientation)
    (finding,) = findings(root)
    assert finding[3] == f"EXIF orientation {orientation}, and a size that fits turned or not"
    assert finding[4] == "an image that is stored upright"


def test_a_square_image_that_exif_turns_is_found(root):
    path = root / "val" / PNG
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(path)
    assert check(root, "val") == []
    ids = torch.full((5, 5), 300)
    sample = Sample(
        torch.zeros((3, 5, 5), dtype=torch.uint8), Panoptic(ids, (Segment(300, 1, False),)), 1
    )
    write_coco_panoptic(root, "square", [sample], [SKY, CAR])
    turn(root / "square" / "000000000001.png", 6)
    (finding,) = check(root, "square")
    assert "EXIF orientation 6" in finding.found


def test_an_image_that_exif_turns_to_the_size_of_its_truth_is_right(root):
    path = root / "val" / PNG
    Image.fromarray(np.zeros((6, 4, 3), dtype=np.uint8)).save(path)
    turn(path, 6)
    assert check(root, "val") == []


def test_an_image_whose_truth_was_painted_before_turning_is_found_with_the_reason(root):
    turn(root / "val" / PNG, 6)
    (finding,) = findings(root)
    assert (
        finding[3] == "height and width (6, 4) (turned by its EXIF orientation 6; stored as (4, 6))"
    )
    assert finding[4] == "(4, 6) as in its PNG"


# -- many categories


def test_more_stuff_than_a_label_map_holds_is_found(root):
    def add(content, num):
        content["categories"] = [
            {"id": i, "name": f"n{i}", "isthing": int(i == 5)} for i in range(1, num + 2)
        ]

    edit(root, lambda c: add(c, 254))
    assert findings(root) == []
    edit(root, lambda c: add(c, 255))
    (finding,) = findings(root)
    assert finding[3:] == (
        "255 stuff classes", "at most 254, for label 255 marks ignored pixels"
    )  # fmt: skip


def test_time_is_linear_in_the_number_of_categories(root):
    def seconds(num):
        edit(
            root,
            lambda c: c.update(
                categories=[
                    {"id": i, "name": f"n{i}", "isthing": int(i != 3)} for i in range(1, num)
                ]
            ),
        )
        began = time.process_time()
        assert check(root, "val") == []
        CocoPanoptic(root, "val")
        return time.process_time() - began

    seconds(10)
    assert seconds(40_000) < 20 * seconds(4_000) + 0.5


# -- other folders


def test_folders_that_the_json_names_are_looked_at(root):
    (root / "val").rename(root / "photos")
    (root / "annotations" / "panoptic_val").rename(root / "truth")
    assert check(root, "val")
    edit(root, lambda c: c.update(folders={"images": "photos", "truth": "truth"}))
    assert check(root, "val") == []
    assert len(CocoPanoptic(root, "val")[0].image) == 3
    edit(root, lambda c: c.update(folders={"images": "photos"}))
    (root / "truth").rename(root / "annotations" / "panoptic_val")
    assert check(root, "val") == []


def test_images_may_be_in_a_folder_of_that_name(root):
    (root / "images").mkdir()
    (root / "val").rename(root / "images" / "val")
    assert check(root, "val") == []
    assert len(CocoPanoptic(root, "val")[0].image) == 3


# -- real data, threads, the command


def test_real_data_have_no_findings(shared):
    assert check(shared / "data" / "coco_panoptic_sample", "val2017") == []
    assert check(shared / "data" / "camvid_panoptic", "val", workers=2) == []


def test_threads_find_the_same_in_the_same_order(root):
    edit(root, lambda c: [s.update(area=1) for a in (0, 1) for s in segments(c, a)])
    steps = []
    alone = check(root, "val")
    together = check(root, "val", workers=3, progress=lambda done, total: steps.append(done))
    assert together == alone
    assert len(alone) == 4
    assert steps == [1, 2]


def test_the_command_prints_findings_and_ends_with_1(root, capsys):
    assert main(["check", str(root), "--split", "val"]) == 0
    assert capsys.readouterr().out == ""
    edit(root, lambda c: segment(c, 20).update(area=5))
    assert main(["check", str(root), "--split", "val", "--workers", "2"]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"{root}/annotations/panoptic_val.json, image 7, segment 20: "
        "found area 5, expected 6 as in the PNG"
    ]
    assert captured.err == "1 finding\n"


def test_a_json_that_is_nested_too_deeply_ends_with_2(root, capsys):
    (root / "annotations" / "panoptic_val.json").write_text("[" * 100_000)
    assert main(["check", str(root), "--split", "val"]) == 2
    err = capsys.readouterr().err
    assert "nested too deeply" in err
    assert len(err.splitlines()) == 1


def test_the_command_ends_with_2_where_there_is_nothing_to_check(root, capsys):
    assert main(["check", str(root), "--split", "train"]) == 2
    assert "there are the splits val" in capsys.readouterr().err
    (root / "annotations" / "panoptic_val.json").write_text("{")
    assert main(["check", str(root), "--split", "val"]) == 2
    assert "found broken JSON" in capsys.readouterr().err
