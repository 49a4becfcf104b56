"""Panoptic quality, from id maps in memory and from files: ours against the reference's loop.

    python benchmarks/scoring.py [--images 200] [--rounds 5]
    python benchmarks/scoring.py --large [--images 5000]

With --large a set of COCO's size is drawn, 133 classes at 480 x 640, and scored once by the command
`pfpn score` on two threads: seconds from start to end, and its peak of memory for a tenth and for
all of the images.

The peer is the algorithm of the reference implementation (panopticapi), written anew: sort all
pixels of each map and of the pair of maps, then plain loops. hotcoco (Rust) runs too if it is
there. All take turns, so that a busy neighbor slows all of them alike: read the ratios. Processor
time is counted as well, of all threads and processes, for it depends less on neighbors. All must
give the same figure, which is checked.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pfpn.compiled import load_loops
from pfpn.data.categories import LabelMap, categories_to_json, coco_categories, parse_categories
from pfpn.data.coco import parse_segments, read_id_map, write_id_map
from pfpn.data.score import score_files
from pfpn.files import write_atomically
from pfpn.quality import PanopticQuality, count_overlaps
from pfpn.structures import Panoptic

DATA = Path(__file__).resolve().parents[1] / "tests/data_files/pq/normal"
PeerSums = dict[int, list[float]]  # category_id: tp, fp, fn, sum of IoUs


def peer_image(
    gt_map: np.ndarray, gt_segments: list[dict], pred_map: np.ndarray, pred_segments: list[dict]
) -> PeerSums:
    """Score one image: np.unique over all pixels, loops over pairs and segments."""
    truth = {segment["id"]: segment for segment in gt_segments}
    guess = {segment["id"]: segment for segment in pred_segments}
    pred_areas = dict(zip(*np.unique(pred_map, return_counts=True), strict=True))
    assert set(pred_areas) - {0} == set(guess)
    codes = gt_map.astype(np.uint64) * 2**24 + pred_map.astype(np.uint64)
    pairs = {
        (int(code) // 2**24, int(code) % 2**24): count
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True)
    }
    sums: PeerSums = defaultdict(lambda: [0, 0, 0, 0.0])
    matched_gt, matched_pred = set(), set()
    for (gt_id, pred_id), overlap in pairs.items():
        if gt_id not in truth or pred_id not in guess or truth[gt_id]["iscrowd"]:
            continue
        category = truth[gt_id]["category_id"]
        if category != guess[pred_id]["category_id"]:
            continue
        union = truth[gt_id]["area"] + pred_areas[pred_id] - overlap - pairs.get((0, pred_id), 0)
        if overlap / union > 0.5:
            sums[category][0] += 1
            sums[category][3] += overlap / union
            matched_gt.add(gt_id)
            matched_pred.add(pred_id)
    crowds = {}
    for gt_id, segment in truth.items():
        if gt_id in matched_gt:
            continue
        if segment["iscrowd"]:
            crowds[segment["category_id"]] = gt_id
        else:
            sums[segment["category_id"]][2] += 1
    for pred_id, segment in guess.items():
        if pred_id in matched_pred:
            continue
        ignored = pairs.get((0, pred_id), 0)
        ignored += pairs.get((crowds.get(segment["category_id"], -1), pred_id), 0)
        if ignored / pred_areas[pred_id] <= 0.5:
            sums[segment["category_id"]][1] += 1
    return sums


def peer_decode(path: Path) -> np.ndarray:
    """Read ids as the reference does: PIL, 32 bits per channel, then arithmetic."""
    rgb = np.array(Image.open(path), dtype=np.uint32)
    return rgb[:, :, 0] + 256 * rgb[:, :, 1] + 256 * 256 * rgb[:, :, 2]


def peer_share(folder: Path, annotations: list[tuple[dict, dict]]) -> PeerSums:
    """Score some images from files."""
    total: PeerSums = defaultdict(lambda: [0, 0, 0, 0.0])
    for gt, pred in annotations:
        found = peer_image(
            peer_decode(folder / "gt" / gt["file_name"]),
            gt["segments_info"],
            peer_decode(folder / "pred" / pred["file_name"]),
            pred["segments_info"],
        )
        for category, sums in found.items():
            total[category] = [a + b for a, b in zip(total[category], sums, strict=True)]
    return dict(total)


def peer_files(folder: Path, processes: int) -> float:
    """Score a set from files, with that many processes; return PQ."""
    gt, pred = (json.loads((folder / f"{name}.json").read_bytes()) for name in ("gt", "pred"))
    by_image = {annotation["image_id"]: annotation for annotation in pred["annotations"]}
    pairs = [(annotation, by_image[annotation["image_id"]]) for annotation in gt["annotations"]]
    if processes == 1:
        shares = [peer_share(folder, pairs)]
    else:
        work = [(folder, pairs[i::processes]) for i in range(processes)]
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            shares = pool.starmap(peer_share, work)
    return peer_mean(shares)


def peer_mean(shares: list[PeerSums]) -> float:
    """Average PQ over the classes that count."""
    total: PeerSums = defaultdict(lambda: [0, 0, 0, 0.0])
    for share in shares:
        for category, sums in share.items():
            total[category] = [a + b for a, b in zip(total[category], sums, strict=True)]
    scores = [iou / (tp + 0.5 * (fp + fn)) for tp, fp, fn, iou in total.values() if tp + fp + fn]
    return sum(scores) / len(scores)


def repeat_set(folder: Path, images: int) -> None:
    """Lay out the 16 images so often that there are `images`; the PNGs are copied by name only."""
    for name in ("gt", "pred"):
        content = json.loads((DATA / f"{name}.json").read_bytes())
        (folder / name).mkdir()
        annotations, entries = [], []
        for i in range(images):
            annotation = dict(content["annotations"][i % len(content["annotations"])])
            (folder / name / f"{i}.png").symlink_to(DATA / name / annotation["file_name"])
            annotations.append(annotation | {"image_id": i, "file_name": f"{i}.png"})
            entries.append({"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640})
        content |= {"annotations": annotations, "images": entries}
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


Times = list[tuple[float, float]]  # seconds of a round: by the wall clock, by the processors


def in_turns(
    jobs: dict[str, Callable[[], float]], rounds: int
) -> tuple[dict[str, Times], dict[str, float]]:
    """Return the times of every round by job, and what each job gave; the order changes."""
    times: dict[str, Times] = {name: [] for name in jobs}
    answers = {name: job() for name, job in jobs.items()}  # this round warms up
    names = list(jobs)
    for round_ in range(rounds):
        first = round_ % len(names)
        for name in names[first:] + names[:first]:
            wall, cpu = time.perf_counter(), cpu_seconds()
            jobs[name]()
            times[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
    return times, answers


def isolated(job: Callable[[], float]) -> float:
    """Run a job in a process of its own, so that none finds memory as another one left it."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(job()))
    process.start()
    answer = receiver.recv()
    process.join()
    return answer


def cpu_seconds() -> float:
    """Return the processor time of this process, its threads, and the processes that it ended."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def report(title: str, jobs: dict[str, Callable[[], float]], images: int, rounds: int) -> dict:
    """Print and return milliseconds per image, and how often faster than the first job."""
    times, answers = in_turns(jobs, rounds)
    expected = next(iter(answers.values()))
    for name, answer in answers.items():
        assert abs(answer - expected) < 1e-12, (name, answer, expected)
    base = next(iter(times.values()))
    print(f"{title}; PQ {100 * expected:.4f} in all\n{'':34s}wall ms      x    CPU ms      x")
    found = {}
    for name, rows in times.items():
        line, found[name] = f"  {name:30s}", {}
        for clock, label in enumerate(("wall", "cpu")):
            middle = 1000 * statistics.median(row[clock] for row in rows) / images
            ratio = statistics.median(b[clock] / r[clock] for b, r in zip(base, rows, strict=True))
            line += f"{middle:9.2f} {ratio:6.2f} "
            found[name] |= {f"{label}_ms": round(middle, 3), f"{label}_ratio": round(ratio, 3)}
        print(line)
    return found


def draw_large_set(folder: Path, images: int, distinct: int = 100) -> None:
    """Draw ellipses and bands of 133 classes; after `distinct` pairs of maps the PNGs repeat."""
    rng = np.random.default_rng(0)
    categories = categories_to_json(coco_categories())
    contents = {name: {"images": [], "annotations": []} for name in ("gt", "pred")}
    labels = [category["id"] for category in categories]
    y, x = np.mgrid[:480, :640]
    pairs = []
    for number in range(distinct):
        segments = rng.integers(10, 26)
        ids = rng.choice(2**24 - 1, segments, replace=False) + 1
        classes = rng.choice(labels, segments)
        gt_map = np.zeros((480, 640), dtype=np.int64)
        for i, (cy, cx, ry, rx) in enumerate(
            rng.uniform((0, 0, 20, 20), (480, 640, 160, 200), (segments, 4))
        ):
            band = (x * 0 + y >= cy) if i < 3 else ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
            gt_map[band] = ids[i]
        moved = np.roll(gt_map, rng.integers(-9, 10, 2), axis=(0, 1))
        pair = []
        for name, id_map in (("gt", gt_map), ("pred", moved)):
            (folder / name).mkdir(exist_ok=True)
            write_id_map(folder / name / f"{number}.png", torch.from_numpy(id_map))
            areas = dict(
                zip(*(a.tolist() for a in np.unique(id_map, return_counts=True)), strict=True)
            )
            pair.append(
                [
                    {"id": int(i), "category_id": int(c), "area": areas[int(i)], "iscrowd": 0}
                    for i, c in zip(ids, classes, strict=True)
                    if int(i) in areas
                ]
            )
        pairs.append(pair)
    for i in range(images):
        for name, segments in zip(contents, pairs[i % distinct], strict=True):
            entry = {"image_id": i, "file_name": f"{i % distinct}.png", "segments_info": segments}
            contents[name]["annotations"].append(entry)
            image = {"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640}
            contents[name]["images"].append(image)
    for name, content in contents.items():
        text = json.dumps(content | {"categories": categories})
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def score_large(images: int) -> None:
    """Print seconds and memory of the command on drawn sets of a tenth and of all images."""
    for number in (images // 10, images):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            draw_large_set(folder, number)
            command = [sys.executable, "-m", "pfpn", "score", "--workers", "2"]
            command += ["--gt", str(folder / "gt.json"), "--pred", str(folder / "pred.json")]
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            assert status == 0
            wall, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
            size = (folder / "gt.json").stat().st_size + (folder / "pred.json").stat().st_size
        print(
            f"{number} images: {wall:.1f} s by the clock, {cpu:.1f} s of processor time, peak "
            f"{usage.ru_maxrss / 1024:.0f} MiB; JSON files of {size / 2**20:.0f} MiB",
            flush=True,
        )


def memory_jobs() -> dict[str, Callable[[], float]]:
    """Score the 16 images from id maps (int64) and segments in memory."""
    contents = {n: json.loads((DATA / f"{n}.json").read_bytes()) for n in ("gt", "pred")}
    categories = parse_categories(contents["gt"]["categories"], "gt.json")
    labels = LabelMap(tuple(categories))
    peers, ours = [], []
    for gt, pred in zip(*(contents[n]["annotations"] for n in ("gt", "pred")), strict=True):
        assert gt["image_id"] == pred["image_id"]
        maps = [
            read_id_map(DATA / n / a["file_name"]).astype(np.int64)
            for n, a in (("gt", gt), ("pred", pred))
        ]
        peers.append((maps[0], gt["segments_info"], maps[1], pred["segments_info"]))
        ours.append(
            tuple(
                Panoptic(torch.from_numpy(id_map), parse_segments(annotation, labels))
                for id_map, annotation in zip(maps, (gt, pred), strict=True)
            )
        )

    def run_ours() -> float:
        quality = PanopticQuality(categories)
        for gt, found in ours:
            quality.update(gt, found)
        result = quality.compute().all
        assert result is not None
        return result.pq

    return {
        "reference's loop": lambda: peer_mean([dict(peer_image(*peer)) for peer in peers]),
        "pfpn": run_ours,
    }


def file_jobs(folder: Path) -> dict[str, Callable[[], float]]:
    """Score from JSON and PNG files, decoding included."""

    def ours(workers: int) -> float:
        result = score_files(
            folder / "gt.json", None, folder / "pred.json", None, workers=workers
        ).all
        assert result is not None
        return result.pq

    jobs: dict[str, Callable[[], float]] = {
        "reference's loop, 1 process": lambda: peer_files(folder, 1),
        "reference's loop, 2 processes": lambda: peer_files(folder, 2),
        "pfpn, 1 worker": lambda: ours(1),
        "pfpn, 2 workers": lambda: ours(2),
    }
    try:
        from hotcoco.panoptic import PanopticEval
    except ImportError:
        print("hotcoco is not installed: left out")
        return jobs

    def hotcoco() -> float:
        evaluation = PanopticEval(str(folder / "gt.json"), str(folder / "pred.json"))
        evaluation.evaluate()
        return evaluation.results()["All"]["pq"]

    def hotcoco_with(threads: int) -> float:
        os.environ["RAYON_NUM_THREADS"] = str(threads)  # read when the process first needs it
        return hotcoco()

    return jobs | {
        "hotcoco, 1 thread": lambda: hotcoco_with(1),
        "hotcoco, 2 threads": lambda: hotcoco_with(2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder")
    arguments = parser.parse_args()
    images = arguments.images or (5000 if arguments.large else 200)
    if arguments.large:
        score_large(images)
        return
    torch.set_num_threads(1)
    load_loops()  # as the peers' libraries are: what is measured begins after start-up,
    ids = read_id_map(next((DATA / "gt").glob("*.png")))  # and numba's ends with the first call
    count_overlaps(ids, ids)
    print("640x480 pixels, 10 to 25 segments; x: how often faster than the first line")
    with tempfile.TemporaryDirectory() as folder:
        repeat_set(Path(folder), images)
        title = f"from files, {images} images, decoding included"
        jobs = {name: partial(isolated, job) for name, job in file_jobs(Path(folder)).items()}
        files = report(title, jobs, images, arguments.rounds)
    # After the files: what is left in this process's memory would be there in its children too.
    memory = report("in memory", memory_jobs(), 16, 3 * arguments.rounds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    facts = {"numpy": np.__version__, "images": images, "rounds": arguments.rounds}
    text = json.dumps(facts | {"files": files, "memory": memory}, indent=1) + "\n"
    write_atomically(arguments.out / "scoring.json", text.encode())


if __name__ == "__main__":
    main()
