"""Build the page of the network: a folder with the page, ONNX Runtime, the network and streets.

    python web/network/build.py                 writes web/network/built/
    python web/network/build.py FOLDER          writes FOLDER, which is new or was written by this
    python web/network/build.py --page-only     writes the page alone, into a folder built before

Exit code 3, with one line that says why, where something that it needs is not installed. ONNX
Runtime comes by npm, as web/package-lock.json names it. The folder needs a server (`pfpn pages`),
because browsers load neither workers nor WASM from file://.
"""

import argparse
import gzip
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfpn import export  # noqa: E402
from pfpn.data.images import encode_image  # noqa: E402
from pfpn.data.toy import ToyStreet  # noqa: E402
from pfpn.engine.checkpoint import load_weights  # noqa: E402
from pfpn.files import write_atomically  # noqa: E402
from pfpn.model import PanopticFPN  # noqa: E402
from pfpn.semantic import upsample_logits  # noqa: E402
from pfpn.shipped import TOY_WEIGHTS, shipped  # noqa: E402

WEB = ROOT / "web"
BUILT = WEB / "network" / "built"
MADE_BY = "made-by-pfpn.txt"  # marks a folder that may be replaced
NPM_SECONDS = 180
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
NUM_STREETS, SEED = 20, 0
FIRST = 10_000  # streets that neither training nor evaluation of the toy weights has seen
STAGES = ("backbone", "fpn", "semantic", "rpn", "boxes", "masks")
LATERAL, MERGED = ("l2", "l3", "l4", "l5"), ("m2", "m3", "m4", "m5")


class MissingError(Exception):
    """Something that is needed to build the page is not installed."""


class Backbone(nn.Module):
    """Image -> c2..c5."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.prepare, self.backbone = export._Prepare(model.config), model.backbone

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        stacked, _ = self.prepare(image)
        return tuple(self.backbone(stacked).values())


class KnockOutFPN(nn.Module):
    """c2..c5 -> laterals, their sums with the level above, and p2..p6; parts can be cut off.

    With `top_down` 0 nothing comes from the level above, with `smooth` 0 the 3x3 convolutions are
    left out, and where `keep` is 0 a level is all zeros. All ones is `pfpn.fpn.FPN`.
    """

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.fpn = model.fpn

    def forward(
        self,
        c2: Tensor, c3: Tensor, c4: Tensor, c5: Tensor,
        top_down: Tensor, smooth: Tensor, keep: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        laterals = [self.fpn.lateral[f"c{k}"](c) for k, c in enumerate((c2, c3, c4, c5), start=2)]
        merged = laterals[-1:]
        for lateral in laterals[-2::-1]:
            above = nn.functional.interpolate(merged[0], scale_factor=2.0, mode="nearest")
            merged.insert(0, lateral + top_down * above)
        levels = []
        for k, m in enumerate(merged, start=2):
            level = smooth * self.fpn.smooth[f"p{k}"](m) + (1 - smooth) * m
            levels.append(keep[k - 2] * level)
        p6 = nn.functional.max_pool2d(levels[-1], kernel_size=1, stride=2)
        return (*laterals, *merged, *levels, p6)


class OpenSemantic(nn.Module):
    """p2..p5 -> what each level adds at stride 4, and the logits of every pixel of the image."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.head = model.semantic_head

    def forward(self, p2: Tensor, p3: Tensor, p4: Tensor, p5: Tensor) -> tuple[Tensor, ...]:
        levels = zip(("p2", "p3", "p4", "p5"), (p2, p3, p4, p5), strict=True)
        parts = [self.head.branches[name](level) for name, level in levels]
        total = parts[0] + parts[1] + parts[2] + parts[3]
        return (*parts, upsample_logits(self.head.classify(total)))


def page_pieces(model: PanopticFPN) -> list[export.Piece]:
    """Return the graphs of the page: the network, opened at the parts that the page shows."""
    maps = ("c2", "c3", "c4", "c5")
    levels = export.ROI_LEVELS
    kept = {p.name: p for p in export.network_pieces(model) if p.name in ("rpn", "boxes", "masks")}
    parts = ("s2", "s3", "s4", "s5")
    return [
        export.Piece("backbone", Backbone(model), ("image",), maps),
        export.Piece(
            "fpn", KnockOutFPN(model), (*maps, "top_down", "smooth", "keep"),
            (*LATERAL, *MERGED, *export.LEVELS),
        ),
        export.Piece("semantic", OpenSemantic(model), levels, (*parts, "logits")),
        *kept.values(),
    ]  # fmt: skip


def export_stages(model: PanopticFPN) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each graph, its weights in float16."""
    values = {
        "image": ToyStreet(1, SEED)[0].image,
        "top_down": torch.ones(1), "smooth": torch.ones(1), "keep": torch.ones(4),
        "proposals": torch.tensor([[4.0, 4, 40, 30], [0, 8, 90, 60]]),
        "boxes": torch.tensor([[4.0, 4, 40, 30], [0, 8, 90, 60]]),
        "labels": torch.tensor([0, 2]),
    }  # fmt: skip
    with torch.no_grad():
        for piece in page_pieces(model):
            results = piece.module(*(values[name] for name in piece.inputs))
            results = (results,) if isinstance(results, Tensor) else results
            free = [
                {0: torch.export.Dim("n")} if name in ("proposals", "boxes", "labels") else {}
                for name in piece.inputs
            ]
            inputs = {name: values[name] for name in piece.inputs}
            proto = export.export_module(
                piece.module.eval(), inputs, piece.outputs, free, fold=False
            )
            export.halve(proto)
            export.finish(proto, {})
            yield piece.name, proto.SerializeToString()
            values |= dict(zip(piece.outputs, results, strict=True))


def fpn_weights(model: PanopticFPN) -> tuple[bytes, dict[str, Any]]:
    """Return the FPN's weights as the graph has them, in float32, and where each one lies.

    The page shows one cell's arithmetic in numbers.
    """
    content, where, start = b"", {}, 0
    for name, value in model.fpn.state_dict().items():
        rounded = value.half().float() if value.numel() >= export.MIN_HALVED else value
        where[name] = {"start": start, "shape": list(value.shape)}
        content += rounded.contiguous().numpy().astype("<f4").tobytes()
        start += value.numel()
    return content, where


def write_streets(folder: Path) -> list[dict[str, Any]]:
    """Write each street and the ids of its truth as PNG; return the segments of each."""
    streets = ToyStreet(NUM_STREETS, SEED, first=FIRST)
    entries = []
    for number in range(NUM_STREETS):
        sample = streets[number]
        ids = sample.panoptic.id_map
        short = {segment.id: i for i, segment in enumerate(sample.panoptic.segments, start=1)}
        small = torch.zeros_like(ids, dtype=torch.uint8)
        for long_id, i in short.items():
            small[ids == long_id] = i
        (folder / f"{number}.png").write_bytes(encode_image(sample.image))
        (folder / f"{number}-truth.png").write_bytes(encode_image(small.expand(3, -1, -1)))
        entries.append(
            {
                "segments": [
                    {"id": short[s.id], "label": s.label, "isThing": s.is_thing, "isCrowd": False}
                    for s in sample.panoptic.segments
                ]
            }
        )
    return entries


def page_settings(model: PanopticFPN, settings: Any) -> dict[str, Any]:
    """Return the numbers of the network and of merging that the page's own functions need."""
    c = model.config
    return {
        "size": [128, 192],
        "anchorSides": c.anchor_sides,
        "anchorRatios": c.anchor_ratios,
        "proposalsPerLevel": c.test_proposals_per_level,
        "proposals": c.test_proposals,
        "rpnNms": c.rpn_nms_threshold,
        "canonicalSize": c.roi_canonical_size,
        "samplingRatio": c.roi_sampling_ratio,
        "boxBins": c.box_bins,
        "maskBins": c.mask_bins,
        "minScore": c.min_score,
        "boxNms": c.box_nms_threshold,
        "maxDetections": c.max_detections,
        "merge": {
            "minScore": settings.min_score,
            "maxOverlap": settings.max_overlap,
            "minStuffArea": settings.min_stuff_area,
        },
    }


def build(folder: Path) -> None:
    """Write everything beside `folder`, and put it there once it is whole.

    Raises:
        MissingError: something that is needed is not installed.
        ValueError: what is there was not written by this.
    """
    require_own(folder)
    export_packages()
    runtime = find_runtime()
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".network-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        write_all(new, runtime)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)


def require_own(folder: Path) -> None:
    """Raise ValueError if there is something in the folder that this did not write."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: found a file, expected a folder, or none")
    if folder.exists() and any(folder.iterdir()) and not (folder / MADE_BY).is_file():
        raise ValueError(f"{folder}: found files of another origin, expected a new folder")


def write_all(folder: Path, runtime: Path) -> None:
    """Write the page and all that it loads into a new folder."""
    for name in ("ort", "model", "streets"):
        (folder / name).mkdir(parents=True)
    (folder / MADE_BY).write_text("web/network/build.py made this folder and replaces it.\n")
    for name in RUNTIME:
        shutil.copy(runtime / name, folder / "ort" / name)
    trained = load_weights(shipped(TOY_WEIGHTS))
    model = trained.model.requires_grad_(False)
    for name, content in export_stages(model):
        (folder / "model" / f"{name}.onnx").write_bytes(content)
    weights, where = fpn_weights(model)
    (folder / "model" / "fpn.bin").write_bytes(weights)
    about = {
        "settings": page_settings(model, trained.predict),
        "fpn": where,
        "streets": write_streets(folder / "streets"),
    }
    (folder / "model" / "about.json").write_text(json.dumps(about))
    build_page(folder)


def build_page(folder: Path) -> None:
    """Write the page and its worker, each as one file and under its name once it is whole."""
    spec = importlib.util.spec_from_file_location("web_build", WEB / "build.py")
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    worker = builder.bundle(WEB / "network" / "worker.js")
    write_atomically(folder / "worker.js", worker.encode())
    write_atomically(folder / "index.html", builder.build_page("network").encode())


def export_packages() -> None:
    """Raise MissingError where the packages of the extra `export` are not installed."""
    try:
        export.require_packages()
    except ValueError as error:
        raise MissingError(str(error)) from error


def find_runtime() -> Path:
    """Return the folder of ONNX Runtime's files; fetch them by npm where they are not there."""
    package = WEB / "node_modules" / "onnxruntime-web"
    if not is_installed(package):
        fetch_runtime()
        if not is_installed(package):
            raise MissingError(
                f"npm fetched no onnxruntime-web {runtime_version()} with {' and '.join(RUNTIME)}; "
                "expected them, because web/package.json names that version"
            )
    return package / "dist"


def runtime_version() -> str:
    """Return the version of ONNX Runtime that web/package.json names."""
    named = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    return str(named["dependencies"]["onnxruntime-web"])


def is_installed(package: Path) -> bool:
    """Return whether the folder holds ONNX Runtime in the version that is named, and whole."""
    if not all((package / "dist" / name).is_file() for name in RUNTIME):
        return False
    found = json.loads((package / "package.json").read_text(encoding="utf-8"))
    return bool(found["version"] == runtime_version())


def fetch_runtime() -> None:
    """Let npm install what web/package-lock.json names."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError("found no npm, which fetches onnxruntime-web; expected node and npm")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        result = subprocess.run(
            command, cwd=WEB, capture_output=True, text=True, timeout=NPM_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(
            f"npm did not fetch onnxruntime-web within {NPM_SECONDS} s; expected a network"
        ) from error
    if result.returncode:
        raise MissingError(f"npm could not fetch onnxruntime-web: {npm_reason(result.stderr)}")


def npm_reason(messages: str) -> str:
    """Return in one line why npm failed, and what to try."""
    lines = [re.sub(r"^npm (?:error|ERR!) ?", "", line).strip() for line in messages.splitlines()]
    code = next((line.removeprefix("code ") for line in lines if line.startswith("code ")), "")
    if code == "EUSAGE":
        return (
            "web/package-lock.json is missing, damaged or of other versions than web/package.json. "
            "Try: git checkout web/package-lock.json web/package.json"
        )
    if code == "EINTEGRITY":
        return "what came is not what web/package-lock.json names. Try: npm cache clean --force"
    details = ("code ", "syscall ", "errno ")
    said = next(
        (line for line in lines if line and not line.startswith(details)), "no reason given"
    )
    return f"{said}. Expected a network that reaches npm's registry"


def first_load(folder: Path) -> int:
    """Return the bytes, compressed, that a first visit fetches: all but the other streets."""
    later = {folder / "streets" / f"{n}{part}.png" for n in range(1, 20) for part in ("", "-truth")}
    files = [path for path in folder.rglob("*") if path.is_file() and path not in later]
    return sum(len(gzip.compress(path.read_bytes(), 6)) for path in files)


def main(arguments: list[str] | None = None) -> int:
    """Build the page; 3 where something is not installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=BUILT)
    parser.add_argument("--page-only", action="store_true", help="only the page and its scripts")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.page_only:
            if not (chosen.folder / MADE_BY).is_file():
                raise ValueError(f"{chosen.folder}: found no page, expected one built before")
            build_page(chosen.folder)
            return 0
        build(chosen.folder)
    except ValueError as error:
        print(f"network: {error}", file=sys.stderr)
        return 1
    except MissingError as error:
        print(f"network: left out, {error}", file=sys.stderr)
        return 3
    print(f"{chosen.folder}: first load {first_load(chosen.folder) / 1e6:.1f} MB, compressed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
