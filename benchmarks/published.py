"""Do the published weights reach their published figures on COCO val2017?

    python benchmarks/published.py                    # what `make published` does
    python benchmarks/published.py --data data/coco --only coco_panoptic_fpn_r50_3x
    torchrun --nproc-per-node 8 benchmarks/published.py

Fetches val2017 and its panoptic truth (1.7 GB) and detectron2's three Panoptic FPN weights (0.6 GB)
unless they are there, and scores each: PQ 39.4, 41.5 and 43.0 are published. A figure is met within
0.1: it was rounded to 0.1, and other decoders of JPEG and other convolutions change single pixels.
Exit code 0 means that all are met, 1 that one is not. On a GPU that is minutes a model, on a CPU it
is most of a day; `--images 100` scores the first 100 alone, which proves nothing but that it runs.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pfpn import zoo  # noqa: E402
from pfpn.cli.command import byte_bar, image_bar  # noqa: E402
from pfpn.data.categories import coco_categories  # noqa: E402
from pfpn.data.coco import CocoPanoptic  # noqa: E402
from pfpn.data.download import download_coco  # noqa: E402
from pfpn.engine import distributed  # noqa: E402
from pfpn.engine.evaluate import category_differences, evaluate  # noqa: E402
from pfpn.files import write_atomically  # noqa: E402
from pfpn.predict import PredictConfig  # noqa: E402

SPLIT = "val2017"
TOLERANCE = 0.1  # points of PQ
NAMES = ("coco_panoptic_fpn_r50_1x", "coco_panoptic_fpn_r50_3x", "coco_panoptic_fpn_r101_3x")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The PQ of one model beside the published one, both in percent."""

    model: str
    pq: float
    published: float
    num_images: int
    whole: bool  # all images were scored

    @property
    def is_met(self) -> bool:
        """Whether the figure is met; a part of the images cannot show it."""
        return self.whole and abs(round(self.pq - self.published, 6)) <= TOLERANCE

    def line(self) -> str:
        """Return a line to print."""
        result = "met" if self.is_met else "NOT MET"
        if not self.whole:
            result = f"unknown: {self.num_images} images only"
        numbers = f"PQ {self.pq:6.2f}, published {self.published:.1f}"
        return f"{self.model:26} {numbers}, within {TOLERANCE}: {result}"


def run(
    root: Path,
    out: Path,
    names: Sequence[str] = NAMES,
    *,
    device: str = "auto",
    max_images: int = 0,
    config: PredictConfig | None = None,
    archives: Mapping[str, Any] | None = None,
) -> list[Comparison]:
    """Fetch what is missing, score each model, and write the comparisons so far to `out`.

    Args:
        root: folder of COCO.
        out: the JSON file.
        names: of `pfpn.zoo.MODELS`.
        device: "auto", "cpu" or "cuda".
        max_images: score the first so many only; 0 scores all.
        config: of prediction; the default is the one behind the figures.
        archives: other ones than COCO's, see `download_coco`.
    """
    comparisons: list[Comparison] = []
    with distributed.join(device) as process:
        if process.is_main:
            with byte_bar() as progress:
                download_coco(root, (SPLIT,), progress=progress, say=print, **(archives or {}))
        distributed.wait_for_all()
        dataset = CocoPanoptic(root, SPLIT)
        differences = category_differences(coco_categories(), dataset.categories, strict=True)
        if differences:
            raise ValueError(f"{root}: its categories are not COCO's: {differences[0]}")
        for name in names:
            comparison = score(name, dataset, process, config, max_images)
            comparisons.append(comparison)
            if process.is_main:
                print(comparison.line(), flush=True)
                entries = [asdict(c) | {"is_met": c.is_met} for c in comparisons]
                out.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(out, (json.dumps(entries, indent=1) + "\n").encode())
    return comparisons


def score(
    name: str,
    dataset: CocoPanoptic,
    process: Any,
    config: PredictConfig | None,
    max_images: int,
) -> Comparison:
    """Score one published model; every process takes its part of the images."""
    with byte_bar() as progress:
        model = zoo.load(name, device=process.device, progress=progress)
    with image_bar(len(dataset), process.is_main) as on_image:
        result = evaluate(
            model,
            dataset,
            config,
            max_images=max_images,
            with_ap=False,
            on_image=lambda sample, prediction: on_image(),
        )
    pq = 100 * result.summary()["pq"]
    whole = result.num_images == len(dataset)
    return Comparison(name, pq, zoo.find(name).figures["PQ"], result.num_images, whole)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "coco", help="COCO's folder")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / "published.json", help="what is written"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--images", type=int, default=0, help="the first N only (0: all)")
    args = parser.parse_args()
    try:
        comparisons = run(
            args.data, args.out, args.only, device=args.device, max_images=args.images
        )
    except (ValueError, OSError) as error:
        print(f"published: {error}", file=sys.stderr)
        return 2
    return 0 if all(comparison.is_met for comparison in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
