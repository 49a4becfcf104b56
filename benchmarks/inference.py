"""Where the time and the memory of Mask R-CNN and Panoptic FPN go, stage by stage, beside a peer.

    python benchmarks/inference.py                       # all parts; about 15 minutes on 2 cores
    python benchmarks/inference.py --only stages --sizes 256

The peer is torchvision's maskrcnn_resnet50_fpn, run by its own functions in the same process, on
the same weights: ours are converted from it, so that both do the same arithmetic and get the same
inputs, 1,000 proposals and 100 detections. Stages take turns; the figures are the medians of one
thread's processor time, the ratios medians within a turn, so that a busy neighbor spoils neither.

`published` is our model with the arithmetic of detectron2's weights, which take as many samples for
a bin of RoIAlign as it spans cells (torchvision: 2 x 2). Beside it stand the times that detectron2
took on two quiet cores of another machine: a guide for the shares, not a comparison.

`map` asks what a panoptic map costs when only what can survive the merge is computed, against a
plain reading of the rules: every mask is computed, pasted into an image of its own, and merged
there. The maps are compared and identical. Boxes and semantic labels cost both the same; they are
timed in the same turns, and "the map" is what is left without them.

`training` takes one step of 2 images forward and backward; its memory is the peak over what stood
before, in processes of their own, and what autograd keeps between forward and backward.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_inference, paste_masks_in_image
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops.misc import FrozenBatchNorm2d

from pfpn.anchors import pyramid_anchors
from pfpn.box_head import detect
from pfpn.files import write_atomically
from pfpn.merge import merge
from pfpn.model import PanopticFPN, total_loss
from pfpn.paste import paste_masks, paste_windows
from pfpn.predict import PredictConfig, output_logits, predict
from pfpn.rpn import select_proposals
from pfpn.semantic import semantic_loss, upsample_logits
from pfpn.structures import VOID, Batch, Instances
from pfpn.zoo import from_torchvision

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "inference.json"
SIZES = {256: (256, 341), 800: (800, 1067)}  # (height, width) by shortest edge
TRAIN_SIZE = (512, 683)
THINGS = 80

# Milliseconds that detectron2 took, quiet 2 cores of another machine, with 100 detections; and
# torchvision there. Measured with wall time, 2 threads.
GUIDE = {
    256: {"backbone + FPN": (246, 244), "semantic": (84, None), "RPN": (74, 67),
          "boxes": (669, 433), "masks": (1044, 940), "merge": (21, None), "all": (2100, 1675)},
    800: {"backbone + FPN": (2138, 2083), "semantic": (869, None), "RPN": (566, 516),
          "boxes": (868, 565), "masks": (1051, 1108), "merge": (197, None), "all": (5714, 4267)},
}  # fmt: skip

Job = Callable[[], object]


# The two models ----------------------------------------------------------------------------------


def build_torchvision(size: tuple[int, int]) -> MaskRCNN:
    """Build it as its published weights want it, with weights that find many things."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        backbone = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
        )
        model = MaskRCNN(backbone, THINGS + 1, min_size=min(size), max_size=max(size))
        for name, module in model.backbone.body.named_modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1)
                module.bias.normal_(std=0.1)
                if name.endswith("bn3"):  # or activations grow from block to block
                    module.weight.mul_(0.3)
        heads = model.roi_heads
        for layer, std in (
            (model.rpn.head.cls_logits, 0.2),
            (model.rpn.head.bbox_pred, 0.05),
            (heads.box_predictor.cls_score, 2.0),
            (heads.box_predictor.bbox_pred, 0.1),
            (heads.mask_predictor.mask_fcn_logits, 0.3),
        ):
            layer.weight.normal_(std=std)
            layer.bias.normal_(std=0.1)
    return model.eval()


def convert(theirs: MaskRCNN, **changes: Any) -> PanopticFPN:
    """Our model with torchvision's weights; other parts, and other arithmetic, by `changes`."""
    config, state = from_torchvision(theirs.state_dict())
    torch.manual_seed(0)
    model = PanopticFPN(replace(config, **changes))
    left = model.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert all(key.startswith("semantic_head.") for key in left.missing_keys)
    return model.eval()


def picture(size: tuple[int, int], seed: int = 0) -> Tensor:
    """An image with shapes of many sizes, uint8."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.zeros(1, 3, *size)
    for cells in (3, 8, 24, 80):
        coarse = torch.rand(1, 3, cells, cells, generator=rng)
        image += F.interpolate(coarse, size=size, mode="bilinear") / 4
    return (255 * image[0]).to(torch.uint8)


# Measuring ---------------------------------------------------------------------------------------


def take_turns(jobs: dict[str, Job], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of processor time of each job in each turn; who is first changes."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(repeats + 1):  # the first one warms up
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.process_time()
            jobs[name]()
            if turn:
                times[name].append(1e3 * (time.process_time() - start))
    return times


def ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


# Stages ------------------------------------------------------------------------------------------


@torch.no_grad()
def stage_jobs(theirs: MaskRCNN, ours: PanopticFPN, image: Tensor) -> dict[str, dict[str, Job]]:
    """Each stage of both models on equal inputs, which come from torchvision's way."""
    c = ours.config
    stacked, sizes = ours.stack([image])
    size = sizes[0]
    features = theirs.backbone(stacked)
    pyramid = dict(zip(("p2", "p3", "p4", "p5", "p6"), features.values(), strict=True))
    maps = list(features.values())
    listed = ImageList(stacked, [size])
    objectness, regression = theirs.rpn.head(maps)
    logits, deltas = ours.rpn_head(pyramid)
    counts = [o[0].numel() for o in objectness]

    def their_proposals() -> list[Tensor]:
        anchors = theirs.rpn.anchor_generator(listed, maps)
        flat, moves = concat_box_prediction_layers(objectness, regression)
        boxes = theirs.rpn.box_coder.decode(moves, anchors).view(1, -1, 4)
        return theirs.rpn.filter_proposals(boxes, flat, [size], counts)[0]

    def our_proposals() -> list[Tensor]:
        anchors = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios, c.anchor_rounding)
        return select_proposals(
            anchors, logits, deltas, [size],
            max_per_level=c.test_proposals_per_level, max_total=c.test_proposals,
            nms_threshold=c.rpn_nms_threshold,
        )[0]  # fmt: skip

    proposals = their_proposals()
    heads = theirs.roi_heads
    pooled = heads.box_roi_pool(features, proposals, [size])
    scores, moves = heads.box_predictor(heads.box_head(pooled))
    class_logits, box_deltas = ours.box_head(pooled)
    found = heads.postprocess_detections(scores, moves, proposals, [size])
    boxes, labels = [found[0][0]], [found[2][0]]

    def our_detections() -> Any:
        return detect(
            class_logits, box_deltas, proposals[0], size,
            min_score=c.min_score, nms_threshold=c.box_nms_threshold,
            max_detections=c.max_detections,
        )  # fmt: skip

    mask_features = heads.mask_roi_pool(features, boxes, [size])

    def their_masks() -> Any:
        return maskrcnn_inference(heads.mask_predictor(heads.mask_head(mask_features)), labels)

    masks = their_masks()[0]
    probs = masks[:, 0]
    print(f"{size[0]}x{size[1]}: {len(proposals[0])} proposals, {len(boxes[0])} detections")
    assert len(our_proposals()[0]) == len(proposals[0])
    assert len(our_detections()[0]) == len(boxes[0])
    return {
        "backbone + FPN": {
            "torchvision": lambda: theirs.backbone(stacked),
            "ours": lambda: ours.pyramid(stacked),
        },
        "RPN head": {
            "torchvision": lambda: theirs.rpn.head(maps),
            "ours": lambda: ours.rpn_head(pyramid),
        },
        "proposals": {"torchvision": their_proposals, "ours": our_proposals},
        "box pooling": {
            "torchvision": lambda: heads.box_roi_pool(features, proposals, [size]),
            "ours": lambda: ours.roi_heads.pool(pyramid, proposals, c.box_bins),
        },
        "box head": {
            "torchvision": lambda: heads.box_predictor(heads.box_head(pooled)),
            "ours": lambda: ours.box_head(pooled),
        },
        "box post-processing": {
            "torchvision": lambda: heads.postprocess_detections(scores, moves, proposals, [size]),
            "ours": our_detections,
        },
        "mask pooling": {
            "torchvision": lambda: heads.mask_roi_pool(features, boxes, [size]),
            "ours": lambda: ours.roi_heads.pool(pyramid, boxes, c.mask_bins),
        },
        "mask head": {
            "torchvision": their_masks,
            "ours": lambda: ours.mask_head(mask_features, labels[0] - 1).sigmoid(),
        },
        "pasting": {
            "torchvision": lambda: paste_masks_in_image(masks, boxes[0], size) > 0.5,
            "ours": lambda: paste_masks(probs, boxes[0], size),
        },
        "all, with pasted masks": {
            "torchvision": lambda: whole_torchvision(theirs, image),
            "ours": lambda: whole_ours(ours, image),
        },
    }


@torch.no_grad()
def whole_torchvision(model: MaskRCNN, image: Tensor) -> Tensor:
    return model([image.float() / 255])[0]["masks"] > 0.5


@torch.no_grad()
def whole_ours(model: PanopticFPN, image: Tensor) -> Tensor:
    found = model.infer([image]).detections[0]
    return paste_masks(found.mask_probs, found.boxes, (image.shape[1], image.shape[2]))


@torch.no_grad()
def panoptic_jobs(ours: PanopticFPN, image: Tensor) -> dict[str, Job]:
    """The stages of the model with the arithmetic of the published weights."""
    c = ours.config
    stacked, sizes = ours.stack([image])
    size = sizes[0]
    pyramid = ours.pyramid(stacked)

    def propose() -> list[Tensor]:
        return ours.proposal_network.propose(pyramid, sizes)

    proposals = propose()

    def detections() -> Any:
        class_logits, box_deltas = ours.box_head(
            ours.roi_heads.pool(pyramid, proposals, c.box_bins)
        )
        return detect(
            class_logits, box_deltas, proposals[0], size,
            min_score=c.min_score, nms_threshold=c.box_nms_threshold,
            max_detections=c.max_detections,
        )  # fmt: skip

    boxes, scores, labels, _ = detections()

    def masks() -> Tensor:
        return ours.mask_head(ours.roi_heads.pool(pyramid, [boxes], c.mask_bins), labels).sigmoid()

    probs = masks()
    coarse = ours.semantic_head(pyramid)
    label_map = output_logits(coarse, size, size)[0].argmax(0)
    return {
        "backbone + FPN": lambda: ours.pyramid(stacked),
        "semantic": lambda: output_logits(ours.semantic_head(pyramid), size, size)[0].argmax(0),
        "RPN": propose,
        "boxes": detections,
        "masks": lambda: paste_masks(masks(), boxes, size),
        "merge": lambda: merge(
            paste_windows(probs, boxes, size), scores, labels, label_map, min_score=0.0
        ),
        "all": lambda: predict(ours, [image], PredictConfig(shortest_edge=0)),
    }


def stages(edge: int, repeats: int) -> list[dict]:
    size = SIZES[edge]
    theirs = build_torchvision(size)
    rows = []
    with torch.no_grad():
        jobs = stage_jobs(theirs, convert(theirs), picture(size))
        print(f"\n{'stage (ms)':24} torchvision     ours   ours / theirs")
        for stage, both in jobs.items():
            few = max(3, repeats // 3) if stage.startswith("all") else repeats
            times = take_turns(both, few)
            row = {"edge": edge, "stage": stage}
            row |= {name: statistics.median(found) for name, found in times.items()}
            row["ratio"] = ratio(times["ours"], times["torchvision"])
            rows.append(row)
            print(f"{stage:24} {row['torchvision']:11.1f} {row['ours']:8.1f} {row['ratio']:15.2f}")
        del jobs
        model = convert(
            theirs, semantic_branch=True, num_semantic=54, roi_sampling_ratio=0, roi_aligned=True
        )
        print(f"\n{'published (ms)':24} {'ours':>11}   guide: detectron2, torchvision elsewhere")
        few = max(3, repeats // 3)
        for stage, job in panoptic_jobs(model, picture(size)).items():
            taken = statistics.median(take_turns({"ours": job}, few)["ours"])
            guide = " / ".join("-" if g is None else str(g) for g in GUIDE[edge][stage])
            rows.append({"edge": edge, "stage": f"published: {stage}", "ours": taken})
            print(f"{stage:24} {taken:11.1f}   {guide}")
    return rows


# The panoptic map --------------------------------------------------------------------------------


@torch.no_grad()
def plain_map(
    model: PanopticFPN, image: Tensor, config: PredictConfig
) -> tuple[Tensor, list[tuple[int, int, bool]]]:
    """Read the rules plainly: compute and paste all masks, ask each question of the whole image."""
    size = (image.shape[1], image.shape[2])
    raw = model.infer([image])
    found = raw.detections[0]
    label_map = output_logits(raw.semantic_logits, size, size)[0].argmax(0)
    y = (torch.arange(size[0]) + 0.5)[None, :, None]
    x = (torch.arange(size[1]) + 0.5)[None, None, :]
    masks = []
    for probs, (x0, y0, x1, y1) in zip(found.mask_probs, found.boxes, strict=True):
        at_x, at_y = (x - x0) / (x1 - x0) * 2 - 1, (y - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack([at_x.expand(1, *size), at_y.expand(1, *size)], dim=-1)
        pasted = F.grid_sample(probs[None, None], grid, align_corners=False)
        masks.append(pasted[0, 0] >= 0.5)
    id_map = torch.full(size, VOID, dtype=torch.int64)
    segments: list[tuple[int, int, bool]] = []
    for i in found.scores.argsort(descending=True).tolist():
        if found.scores[i] < config.min_score:
            continue
        area = int(masks[i].sum())
        if area == 0:
            continue
        taken = masks[i] & (id_map != VOID)
        if int(taken.sum()) / area > config.max_overlap:
            continue
        segments.append((len(segments) + 1, int(found.labels[i]), True))
        id_map[masks[i] & (id_map == VOID)] = len(segments)
    for label in label_map.unique().tolist():
        region = (label_map == label) & (id_map == VOID)
        if label != 0 and int(region.sum()) >= config.min_stuff_area:
            segments.append((len(segments) + 1, label, False))
            id_map[region] = len(segments)
    return id_map, segments


def panoptic_map(edge: int, repeats: int) -> list[dict]:
    """Ours against the plain reading, with 5, 20 and 100 of 100 instances above the threshold."""
    size = SIZES[edge]
    theirs = build_torchvision(size)
    model = convert(
        theirs, semantic_branch=True, num_semantic=54, roi_sampling_ratio=0, roi_aligned=True
    )
    image, rows = picture(size), []
    scores = model.infer([image]).detections[0].scores
    title = f"panoptic map at {size[0]}x{size[1]}"
    print(f"\n{title}   plain (ms)     ours   ours / plain   of the map")

    @torch.no_grad()
    def shared() -> Tensor:
        raw = model.infer([image], 2.0)  # no score reaches it: boxes and labels, but no mask
        return output_logits(raw.semantic_logits, size, size)[0].argmax(0)

    for trusted in (5, 20, len(scores)):
        threshold = float(scores[trusted - 1])
        config = PredictConfig(shortest_edge=0, min_score=threshold, min_stuff_area=64)

        def ours(config: PredictConfig = config) -> Any:
            return predict(model, [image], config, all_detections=False)[0].panoptic

        def plain(config: PredictConfig = config) -> Any:
            return plain_map(model, image, config)

        expected, segments = plain()
        found = ours()
        assert torch.equal(found.id_map, expected)
        assert [(s.id, s.label, s.is_thing) for s in found.segments] == segments
        num_things = sum(is_thing for *_, is_thing in segments)
        times = take_turns({"shared": shared, "plain": plain, "ours": ours}, repeats)
        alone = {
            name: [whole - part for whole, part in zip(times[name], times["shared"], strict=True)]
            for name in ("plain", "ours")
        }
        row = {"edge": edge, "above": trusted, "things": num_things}
        row |= {name: statistics.median(found) for name, found in times.items()}
        row["ratio"] = ratio(times["ours"], times["plain"])
        row["ratio_of_map"] = ratio(alone["ours"], alone["plain"])
        rows.append(row)
        print(
            f"  {trusted:3} of {len(scores)} above, {num_things:3} drawn {row['plain']:11.0f} "
            f"{row['ours']:8.0f} {row['ratio']:13.2f} {row['ratio_of_map']:11.2f}   identical"
        )
    return rows


# Training ----------------------------------------------------------------------------------------


def make_truth(size: tuple[int, int], seed: int) -> tuple[Instances, Tensor]:
    """Ten round things and a label map in patches."""
    rng = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[1], size[0]])
    sides = (0.1 + 0.3 * torch.rand(10, 2, generator=rng)) * extent
    corners = torch.rand(10, 2, generator=rng) * (extent - sides)
    boxes = torch.cat([corners, corners + sides], dim=1).round()
    y, x = torch.arange(size[0])[:, None] + 0.5, torch.arange(size[1])[None] + 0.5
    center, radius = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    rounds = zip(center, radius, strict=True)
    masks = torch.stack(
        [((x - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 <= 1 for c, r in rounds]
    )
    labels = torch.randint(THINGS, (10,), generator=rng)
    coarse = torch.randint(54, (1, 1, 6, 8), generator=rng)
    label_map = F.interpolate(coarse.float(), size=size)[0, 0].long()
    return Instances(boxes, labels, masks), label_map


def training_job(who: str, size: tuple[int, int]) -> Job:
    """One step, forward and backward, of 2 images: "torchvision", "ours", "ours, panoptic"."""
    theirs = build_torchvision(size)
    images = [picture(size, seed) for seed in (0, 1)]
    truths = [make_truth(size, seed) for seed in (0, 1)]
    if who == "torchvision":
        theirs.train()
        targets = [
            {"boxes": t.boxes, "labels": t.labels + 1, "masks": t.masks.to(torch.uint8)}
            for t, _ in truths
        ]

        def step() -> None:
            theirs.zero_grad(set_to_none=True)
            torch.manual_seed(0)
            sum(theirs([image.float() / 255 for image in images], targets).values()).backward()

        step.model = theirs  # type: ignore[attr-defined]
        return step
    changes = {"semantic_branch": True, "num_semantic": 54} if who == "ours, panoptic" else {}
    # torchvision trains on 2,000 proposals where detectron2, per image, takes 1,000.
    model = convert(theirs, train_proposals=2000, **changes).train()
    del theirs
    batch = Batch(images, [t for t, _ in truths], [m for _, m in truths], [0, 1])

    def our_step() -> None:
        model.zero_grad(set_to_none=True)
        losses = model(batch, torch.Generator().manual_seed(0))
        total_loss(losses, model.config).backward()

    our_step.model = model  # type: ignore[attr-defined]
    return our_step


def kept_bytes(run: Job, model: torch.nn.Module, inputs: Sequence[Tensor] = ()) -> int:
    """Bytes that autograd keeps for backward, each storage once; no weights or inputs."""
    others = (*model.parameters(), *model.buffers(), *inputs)
    own = {tensor.untyped_storage().data_ptr() for tensor in others}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(seen.values())


def semantic_kept(size: tuple[int, int]) -> int:
    """Bytes that the semantic head alone keeps, from the pyramid to its loss."""
    model = convert(build_torchvision(size), semantic_branch=True, num_semantic=54).train()
    stacked, _ = model.stack([picture(size), picture(size)])
    with torch.no_grad():
        pyramid = model.pyramid(stacked)
    for level in pyramid.values():
        level.requires_grad_()
    labels = torch.zeros((2, *stacked.shape[2:]), dtype=torch.int64)

    def run() -> None:
        semantic_loss(upsample_logits(model.semantic_head(pyramid)), labels).backward()

    return kept_bytes(run, model.semantic_head, list(pyramid.values()))


def peak_over_rest(run: Job) -> int:
    """Peak of the process over what it held before, in bytes (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no {key}.")


WHO = ("torchvision", "ours", "ours, panoptic")


def training(repeats: int) -> list[dict]:
    size = TRAIN_SIZE
    jobs = {who: training_job(who, size) for who in WHO}
    times = take_turns(jobs, repeats)
    rows = []
    semantic = semantic_kept(size)
    print(f"\ntraining step, 2 images of {size[0]}x{size[1]}")
    print(f"  {'':16}       ms   / torchvision   kept (MiB)   peak (MiB)")
    for who, job in jobs.items():
        peak = min(_peak_elsewhere(who) for _ in range(3))
        row = {
            "who": who,
            "ms": statistics.median(times[who]),
            "ratio": ratio(times[who], times["torchvision"]),
            "kept_mib": kept_bytes(job, job.model) / 2**20,  # type: ignore[attr-defined]
            "peak_mib": peak / 2**20,
        }
        rows.append(row)
        print(
            f"  {who:16} {row['ms']:8.0f} {row['ratio']:15.2f} {row['kept_mib']:12.0f} "
            f"{row['peak_mib']:12.0f}"
        )
    rows.append({"who": "semantic head", "kept_mib": semantic / 2**20})
    print(f"  the semantic head alone keeps {semantic / 2**20:.0f} MiB")
    return rows


def _peak_elsewhere(who: str) -> int:
    command = [sys.executable, __file__, "--peak", who]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["stages", "map", "training"])
    parser.add_argument("--sizes", type=int, nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--peak", choices=WHO, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print(peak_over_rest(training_job(args.peak, TRAIN_SIZE)))
        return
    report: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    report |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, one clock: ms of CPU")
    if args.only in (None, "stages"):
        report["stages"] = [row for edge in args.sizes for row in stages(edge, args.repeats)]
    if args.only in (None, "map"):
        few = max(3, args.repeats // 3)
        report["map"] = [row for edge in args.sizes for row in panoptic_map(edge, few)]
    if args.only in (None, "training"):
        report["training"] = training(max(3, args.repeats // 3))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
