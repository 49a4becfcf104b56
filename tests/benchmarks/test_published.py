"""`make published`, rehearsed: a small COCO and stand-in weights, from a server of our own."""

import functools
import hashlib
import http.server
import importlib.util
import json
import pickle
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pfpn import zoo
from pfpn.data.categories import coco_categories
from pfpn.data.coco import CocoWriter
from pfpn.data.download import Archive
from pfpn.engine.evaluate import evaluate
from pfpn.predict import PredictConfig
from pfpn.structures import Panoptic, Sample, Segment
from tests.data_files.detectron2.keyed_weights import keyed_state_dict

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 96)
CONFIG = PredictConfig(shortest_edge=64, min_stuff_area=16, min_score=0.01)


@pytest.fixture(scope="module")
def published() -> Iterator[Any]:
    path = ROOT / "benchmarks" / "published.py"
    spec = importlib.util.spec_from_file_location("published", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server, and the folder whose files it serves."""
    folder = tmp_path_factory.mktemp("served")

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Silent, directory=str(folder))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}", folder
    running.shutdown()
    running.server_close()
    thread.join()


def write_archives(folder: Path, scratch: Path) -> None:
    """Write two images and their truth, packed as COCO's archives are."""
    with CocoWriter(scratch, "val2017", coco_categories(), suffix=".jpg") as writer:
        for image_id in (139, 285):
            rng = torch.Generator().manual_seed(image_id)
            id_map = torch.ones(SIZE, dtype=torch.int64)
            id_map[:, 48:] = 2
            id_map[16:48, 8:40] = 3
            segments = (Segment(1, 1, False), Segment(2, 30, False), Segment(3, 0, True))
            image = torch.randint(0, 256, (3, *SIZE), generator=rng, dtype=torch.uint8)
            writer.add(Sample(image, Panoptic(id_map, segments), image_id))
    truth = scratch / "annotations"
    with zipfile.ZipFile(folder / "val2017.zip", "w") as packed:
        for path in sorted((scratch / "val2017").iterdir()):
            packed.write(path, f"val2017/{path.name}")
    inner = scratch / "inner.zip"
    with zipfile.ZipFile(inner, "w") as packed:
        for path in sorted((truth / "panoptic_val2017").iterdir()):
            packed.write(path, f"panoptic_val2017/{path.name}")
    with zipfile.ZipFile(folder / "panoptic.zip", "w") as packed:
        packed.write(inner, "annotations/panoptic_val2017.zip")
        packed.write(truth / "panoptic_val2017.json", "annotations/panoptic_val2017.json")


@pytest.fixture(scope="module")
def archives(server: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    url, folder = server
    write_archives(folder, tmp_path_factory.mktemp("coco"))

    def archive(name: str) -> Archive:
        content = (folder / name).read_bytes()
        return Archive(f"{url}/{name}", len(content), hashlib.sha256(content).hexdigest())

    return {"images": {"val2017": archive("val2017.zip")}, "panoptic": archive("panoptic.zip")}


@pytest.fixture(scope="module")
def weights(server: tuple[str, Path]) -> dict[str, zoo.Published]:
    """Weights of detectron2's names and shapes under the address of each published model.

    All three are R-50 here: what differs in R-101 is read off the tensors, as test_zoo shows.
    """
    url, folder = server
    shapes = ROOT / "tests" / "data_files" / "detectron2" / "key_shapes_r50.json"
    state = keyed_state_dict(json.loads(shapes.read_text()))
    tree = {"model": {key: value.numpy() for key, value in state.items()}, "__author__": "test"}
    content = pickle.dumps(tree, protocol=4)
    (folder / "model.pkl").write_bytes(content)
    md5 = hashlib.md5(content).hexdigest()[:6]
    return {
        name: zoo.Published(
            f"{url}/model.pkl", zoo.DETECTRON2, 184, zoo.MODELS[name].figures, md5=md5
        )
        for name in zoo.MODELS
        if "panoptic" in name
    }


@pytest.mark.slow
def test_the_stand_ins_are_fetched_scored_and_compared(
    published: Any,
    archives: dict[str, Any],
    weights: dict[str, zoo.Published],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PFPN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(zoo, "MODELS", weights)
    out = tmp_path / "published.json"
    comparisons = published.run(
        tmp_path / "coco", out, device="cpu", config=CONFIG, archives=archives
    )
    # The same by hand, from what was fetched
    dataset = published.CocoPanoptic(tmp_path / "coco", "val2017")
    model = zoo.load(published.NAMES[0], file=tmp_path / "cache" / "zoo" / "model.pkl")
    expected = evaluate(model, dataset, CONFIG, with_ap=False).summary()["pq"]

    assert [c.model for c in comparisons] == list(published.NAMES)
    assert [c.pq for c in comparisons] == [100 * expected] * 3
    assert [c.published for c in comparisons] == [39.4, 41.5, 43.0]
    assert [c.num_images for c in comparisons] == [2, 2, 2]
    entries = json.loads(out.read_text())
    assert [entry["is_met"] for entry in entries] == [False] * 3
    printed = capsys.readouterr().out
    assert printed.count("NOT MET") == 3
    assert f"fetching {archives['panoptic'].url}" in printed


@pytest.mark.parametrize(
    ("pq", "is_met"), [(39.4, True), (39.3, True), (39.5, True), (39.29, False), (39.51, False)]
)
def test_a_figure_is_met_within_a_tenth(published: Any, pq: float, is_met: bool) -> None:
    comparison = published.Comparison("model", pq, 39.4, 5000, True)
    assert comparison.is_met is is_met
    assert ("NOT MET" in comparison.line()) is not is_met


def test_a_part_of_the_images_meets_nothing(published: Any) -> None:
    comparison = published.Comparison("model", 39.4, 39.4, 100, False)
    assert not comparison.is_met
    assert comparison.line().endswith("unknown: 100 images only")


def test_other_categories_are_refused(published: Any, tmp_path: Path) -> None:
    with CocoWriter(tmp_path, "val2017", coco_categories()[:-1], suffix=".jpg") as writer:
        id_map = torch.ones(SIZE, dtype=torch.int64)
        image = torch.zeros((3, *SIZE), dtype=torch.uint8)
        writer.add(Sample(image, Panoptic(id_map, (Segment(1, 1, False),)), 7))
    with pytest.raises(ValueError, match="its categories are not COCO's: found 52 stuff"):
        published.run(tmp_path, tmp_path / "out.json", device="cpu")


def test_the_figures_are_those_of_the_zoo(published: Any) -> None:
    assert [zoo.MODELS[name].figures["PQ"] for name in published.NAMES] == [39.4, 41.5, 43.0]


def test_a_network_that_is_missing_is_said_in_one_line(
    published: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ValueError("http://x/y.zip: the download failed: no network")

    monkeypatch.setattr(published, "run", fail)
    monkeypatch.setattr(sys, "argv", ["published.py"])
    assert published.main() == 2
    error = capsys.readouterr().err
    assert error == "published: http://x/y.zip: the download failed: no network\n"
