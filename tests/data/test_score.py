import json
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pfpn.cli import main
from pfpn.data.score import score_files

FOLDER = Path(__file__).resolve().parents[1] / "data_files" / "pq"
NORMAL = FOLDER / "normal"
with zipfile.ZipFile(FOLDER / "edge.zip") as archive:
    EDGE = json.loads(archive.read("edge/expected.json"))
SCORED = [name for name, case in EDGE.items() if case["must"] == "score"]
REFUSED = {
    # what the one line says: file, image, segment, found, expected
    "pred_png_not_json": ("pred.json with 000001.png, image 1, segment 99", "painted (1 px)"),
    "pred_json_not_png": ("pred.json with 000001.png, image 1, segment 99", "no pixel"),
    "gt_png_not_json": ("gt.json with 000001.png, image 1, segment 99", "painted (9 px)"),
    "gt_json_not_png": ("gt.json with 000001.png, image 1, segment 99", "no pixel"),
    "dup_gt": ("gt.json with 000001.png, image 1, segment 5", "the id listed twice"),
    "dup_pred": ("pred.json with 000001.png, image 1, segment 5", "the id listed twice"),
    "unknown_cat_pred": ("pred.json with 000001.png, image 1, segment 5", "category_id 77"),
    "unknown_cat_gt": ("gt.json with 000001.png, image 1, segment 5", "category_id 77"),
    "missing_pred": ("pred.json, image 1", "no prediction"),
    "gt_area_wrong_small": ("gt.json with 000001.png, image 1, segment 7", "area 10, expected 48"),
    "gt_area_wrong_big": ("gt.json with 000001.png, image 1, segment 7", "area 400, expected 48"),
    "gt_area_double_match": ("gt.json with 000001.png, image 1, segment 5", "area 6, expected 16"),
    "size_mismatch": ("pred/000001.png, image 1", "height and width (9, 8), expected (8, 8)"),
    "size_broadcast": ("pred/000001.png, image 1", "height and width (1, 1), expected (8, 8)"),
    "void_in_json_pred": ("pred.json with 000001.png, image 1, segment 0", "0 is void"),
    "void_in_json_gt": ("gt.json with 000001.png, image 1, segment 0", "0 is void"),
    "gray_png": ("gt/000000.png, image 0", "a gray PNG, expected an RGB one"),
}


@pytest.fixture(scope="module")
def edge(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pq")
    with zipfile.ZipFile(FOLDER / "edge.zip") as archive:
        archive.extractall(folder)
    return folder / "edge"


def score(folder: Path, **options) -> dict:
    return score_files(
        folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred", **options
    ).as_dict()


def without_names(result: dict) -> dict:
    """The figures as the reference lays them out."""
    classes = {
        number: {key: value for key, value in entry.items() if key != "name"}
        for number, entry in result["per_class"].items()
    }
    return {key: result[key] for key in ("all", "things", "stuff")} | {"per_class": classes}


# -- the reference's figures, to the last bit


@pytest.mark.parametrize("workers", [1, 2])
def test_a_normal_set_has_the_reference_figures(workers):
    expected = json.loads((NORMAL / "expected.json").read_text())
    result = score(NORMAL, workers=workers)
    assert without_names(result) == expected
    assert result["num_images"] == 16


@pytest.mark.parametrize("name", SCORED)
def test_an_edge_case_has_the_reference_figures(edge, name):
    found, expected = without_names(score(edge / name)), EDGE[name]["expected"]
    if "note" in EDGE[name]:  # the reference stops there, and only PQ is given
        assert found["all"]["pq"] == expected["all"]["pq"]
    else:
        assert found == expected


def test_every_case_is_tested():
    assert len(EDGE) == 39
    assert set(SCORED) | set(REFUSED) == set(EDGE)


@pytest.mark.parametrize("name", REFUSED)
def test_an_edge_case_is_refused_in_one_line(edge, name, tmp_path, capsys):
    folder, file = edge / name, tmp_path / "scores.json"
    arguments = ["score", "--gt", str(folder / "gt.json"), "--gt-dir", str(folder / "gt")]
    arguments += ["--pred", str(folder / "pred.json"), "--pred-dir", str(folder / "pred")]
    assert main([*arguments, "--json", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []
    (line,) = captured.err.splitlines()
    place, found = REFUSED[name]
    assert f"{folder / place.split('/')[0]}" in line
    assert f"{place}: found" in line
    assert found in line
    assert ", expected " in line


# -- more that is refused


@pytest.fixture
def pair(edge, tmp_path) -> Path:
    """A copy of a set of two images that scores 100, to be spoiled."""
    source = edge / "extra_pred"
    for path in source.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return tmp_path


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_folders_default_to_the_names_of_the_json_files(pair):
    result = score_files(pair / "gt.json", None, str(pair / "pred.json"), None)
    assert result.all.pq == 1


def test_a_prediction_of_another_image_is_not_even_read(pair):
    gt_images = {a["image_id"] for a in json.loads((pair / "gt.json").read_text())["annotations"]}

    def spoil(content):
        (extra,) = [a for a in content["annotations"] if a["image_id"] not in gt_images]
        extra.update(file_name="nowhere.png", segments_info=None)

    edit(pair / "pred.json", spoil)
    assert score(pair)["all"]["pq"] == 100


def test_area_and_crowds_of_a_prediction_are_ignored(pair):
    def add(content):
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment.update(area=1, iscrowd=1, bbox=None, score=0.3)

    edit(pair / "pred.json", add)
    assert score(pair)["all"]["pq"] == 100


def test_predictions_need_no_categories_or_images(pair):
    edit(pair / "pred.json", lambda c: (c.pop("categories"), c.pop("images")))
    edit(pair / "gt.json", lambda c: c.pop("images"))
    assert score(pair)["all"]["pq"] == 100


def test_image_ids_may_be_names(pair):
    for name in ("gt", "pred"):
        edit(
            pair / f"{name}.json",
            lambda c: [a.update(image_id=f"town_{a['image_id']}") for a in c["annotations"]],
        )
    assert score(pair)["all"]["pq"] == 100


def polygons(content):
    """As panopticapi's detection converter leaves them: areas and boxes of the polygons."""
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment.update(area=segment["area"] + 3.25, bbox=[0.5, 1.25, 3.5, 4.0])


def test_truth_with_the_areas_of_polygons_is_scored_by_its_pixels(pair):
    before, said = score(pair), []
    edit(pair / "gt.json", polygons)
    assert score(pair, say=said.append) == before
    (line,) = said
    assert line.startswith(f"{pair / 'gt.json'}: ")
    assert "areas are counted in the PNGs" in line
    edit(pair / "gt.json", lambda c: c["annotations"][0]["segments_info"][0].update(area=1))
    with pytest.raises(ValueError, match="area 1, expected"):
        score(pair)


@pytest.mark.parametrize("area", [float("nan"), float("inf"), -1.5, "7", [7]])
def test_an_area_that_is_no_number_of_pixels_is_refused(pair, area):
    edit(pair / "gt.json", lambda c: c["annotations"][0]["segments_info"][0].update(area=area))
    with pytest.raises(ValueError, match="found area"):
        score(pair)


@pytest.mark.parametrize("name", ["../gt/000000.png", "/etc/passwd", "a\0b", "", 7])
def test_a_name_of_a_png_that_is_not_plain_is_refused(pair, name):
    for file in ("pred", "gt"):
        edit(pair / f"{file}.json", lambda c: c["annotations"][0].update(file_name=name))
        with pytest.raises(ValueError, match="expected the name of its PNG"):
            score(pair)


@pytest.mark.parametrize("image_id", [[1], {"a": 1}, None, 1.5])
def test_an_image_id_that_is_neither_number_nor_name_is_refused(pair, image_id):
    edit(pair / "pred.json", lambda c: c["annotations"][0].update(image_id=image_id))
    with pytest.raises(ValueError, match="an annotation with image_id"):
        score(pair)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("gt", lambda c: c["annotations"].append(c["annotations"][0]), "a second annotation"),
        ("pred", lambda c: c["annotations"].append(c["annotations"][0]), "a second annotation"),
        ("gt", lambda c: c["annotations"][0].pop("file_name"), "with file_name null"),
        ("pred", lambda c: c["annotations"][0].update(file_name="x.png"), "found no such file"),
        ("gt", lambda c: c["annotations"][0].pop("image_id"), "an annotation with image_id null"),
        ("gt", lambda c: c.pop("annotations"), "no annotations"),
        ("gt", lambda c: c.pop("categories"), "NoneType as categories"),
        ("gt", lambda c: c["categories"].append(c["categories"][0]), "category 1 twice"),
        ("pred", lambda c: c["annotations"][0].pop("segments_info"), "segments_info null"),
    ],
)
def test_broken_files_are_refused_with_their_name(pair, file, change, message):
    edit(pair / f"{file}.json", change)
    with pytest.raises(ValueError, match=message) as caught:
        score(pair)
    assert str(pair / file) in str(caught.value)


def test_a_missing_folder_and_broken_json_are_refused(pair):
    with pytest.raises(ValueError, match="nowhere: found no such folder"):
        score_files(pair / "gt.json", pair / "nowhere", pair / "pred.json", None)
    (pair / "pred.json").write_text("{")
    with pytest.raises(ValueError, match=r"pred\.json: found broken JSON"):
        score(pair)


def test_a_refusal_does_not_depend_on_the_number_of_threads(edge):
    for workers in (1, 4):
        with pytest.raises(ValueError, match="image 1, segment 99"):
            score(edge / "pred_png_not_json", workers=workers)


# -- memory, progress, the command


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    def peak(images: int) -> int:
        folder = tmp_path / str(images)
        for name in ("gt", "pred"):
            content = json.loads((NORMAL / f"{name}.json").read_text())
            content["annotations"] = [
                content["annotations"][0] | {"image_id": i} for i in range(images)
            ]
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.json").write_text(json.dumps(content))
        tracemalloc.start()
        score_files(folder / "gt.json", NORMAL / "gt", folder / "pred.json", NORMAL / "pred")
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    id_map = 640 * 480 * 4
    few, many = peak(2), peak(12)
    assert few > 2 * id_map  # the peak does see id maps
    assert many - few < id_map


def test_progress_counts_every_image():
    steps = []
    score(NORMAL, workers=2, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i, 16) for i in range(1, 17)]


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    file = tmp_path / "scores.json"
    arguments = ["--gt", str(NORMAL / "gt.json"), "--pred", str(NORMAL / "pred.json")]
    assert main(["score", *arguments, "--json", str(file), "--workers", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "          PQ    SQ    RQ    N",
        "all     37.4  50.5  50.0  102",
        "things  38.9  56.6  46.5   56",
        "stuff   35.7  43.1  54.2   46",
    ]
    expected = json.loads((NORMAL / "expected.json").read_text())
    assert without_names(json.loads(file.read_text())) == expected


def test_the_command_can_print_classes(capsys):
    arguments = ["--gt", str(NORMAL / "gt.json"), "--pred", str(NORMAL / "pred.json")]
    assert main(["score", *arguments, "--per-class"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 + 2 + 102
    assert ["train", "64.4", "79.2", "81.2", "13", "1", "5"] in [line.split() for line in lines]


def test_the_command_runs_as_a_program(edge):
    folder = edge / "gray_png"
    command = [sys.executable, "-m", "pfpn", "score", "--gt", str(folder / "gt.json")]
    result = subprocess.run(
        [*command, "--pred", str(folder / "pred.json")], capture_output=True, text=True, timeout=300
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("pfpn score: ")
    assert result.stderr.count("\n") == 1
