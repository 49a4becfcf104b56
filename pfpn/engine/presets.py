"""Runs that are known to work, each a function that returns its config.

Scores are marked as published (by someone else, for the same recipe), measured (by us) or
unmeasured. Of the runs that need GPUs nothing is measured here. Their memory is what
`engine.memory` counts for a step of full precision, which the tests hold; their hours are their
steps times the seconds a step that detectron2's Model Zoo publishes for 8 V100 and the same recipe.
Evaluations come on top.
"""

from collections.abc import Callable
from dataclasses import replace

from pfpn.backbone import Depth
from pfpn.engine.config import DataConfig, OptimConfig, TrainConfig
from pfpn.model import ModelConfig
from pfpn.predict import PredictConfig

# What torchvision's ImageNet weights were trained on, in 0..255
IMAGENET_MEAN = (123.675, 116.280, 103.530)  # RGB
IMAGENET_STD = (58.395, 57.120, 57.375)


def small_model() -> ModelConfig:
    """Return a half-width ResNet-18 with a 32-channel pyramid, about 3 million parameters.

    Everything that costs time and not much quality on small images is small: proposals, sampled
    anchors and rois, heads. Anchors are a quarter of the published ones; rois are pooled from a
    level twice as fine for their size, for the masks' sake.
    """
    return ModelConfig(
        channel_order="RGB",
        pixel_mean=IMAGENET_MEAN,
        pixel_std=IMAGENET_STD,
        depth=18,
        width=0.5,
        norm="batch",
        stride_in_1x1=False,
        frozen_stages=0,
        pyramid_channels=32,
        semantic_channels=32,
        anchor_sides=(8.0, 16.0, 32.0, 64.0, 128.0),
        roi_canonical_size=112.0,
        roi_sampling_ratio=2,
        rpn_samples=128,
        train_proposals_per_level=300,
        train_proposals=100,
        test_proposals_per_level=300,
        test_proposals=100,
        box_hidden=256,
        box_samples=64,
        box_positive_fraction=0.25,
        mask_channels=32,
        mask_convs=2,
        semantic_weight=1.0,
    )


def small_optim() -> OptimConfig:
    """Return the recipe of the small model: AdamW, a short warm-up, then a linear fall."""
    return OptimConfig(
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.02,
        decay_biases=False,
        warmup_steps=100,
        warmup_factor=0.01,
        schedule="linear",
        decay_start=0.1,
        final_factor=0.01,
        clip_norm=5.0,
        channels_last=True,
    )


def toy() -> TrainConfig:
    """Drawn streets of 128 x 192 pixels, on two CPU cores, in minutes.

    Command: `pfpn train toy --out runs/toy`. Score: measured on 100 held-out streets on two cores:
    PQ 87.5 after 5 minutes (2,427 steps, 64 images/s; what `make demo` does), 86.9 after the 2,000
    steps of this preset, 89.8 after 7,000 steps on 8,000 streets. How the recipe was found is told
    in docs/toy.md. Time: about 5 minutes.
    """
    return TrainConfig(
        preset="toy",
        batch_size=8,
        max_steps=2000,
        log_every=20,
        save_every=400,
        eval_every=0,
        data=DataConfig(toy_train_images=2000, cache=True),
        model=small_model(),
        optim=replace(small_optim(), optimizer="muon", momentum=0.95, muon_factor=7.0),
        predict=PredictConfig(shortest_edge=0, min_stuff_area=64),
    )


def camvid() -> TrainConfig:
    """CamVid in COCO panoptic format at 240 x 180 pixels, on two CPU cores.

    Command: `pfpn train camvid data=FOLDER --out runs/camvid`, with FOLDER as described in
    data/README.md. Score: measured on the 40 validation frames (one clip) after 10 minutes (1,809
    steps) on two busy cores: PQ 47.7 (things 30.4, stuff 54.2), mean IoU 53.4, mask AP 12.4.
    Time: about 15 minutes.
    """
    base = toy()
    return replace(
        base,
        preset="camvid",
        batch_size=4,
        max_steps=2500,
        save_every=250,
        data=DataConfig(
            root="data/camvid",
            shortest_edges=tuple(range(144, 289, 12)),  # 0.8 to 1.6 times 180
            crop=(144, 192),
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
            cache=True,
        ),
        optim=small_optim(),
        predict=PredictConfig(shortest_edge=180, min_stuff_area=256),
    )


def photos() -> TrainConfig:
    """A few hundred photographs of your own on a CPU: ResNet-18, from ImageNet's weights.

    Command: `pfpn train photos data=FOLDER --out runs/mine`, with FOLDER as `pfpn import` and
    `pfpn split` write it. Without a network it begins with the toy weights that come with pfpn, and
    the network is theirs; the first line says so. The stem and the first stage stay as they are,
    and a run ends when PQ on the validation split has not risen in 5 evaluations; the weights of
    the best one are kept. `init=RUN` begins with a run of yours: rows of classes with the same
    name are taken over, `init_classes=OURS:THEIRS` names those with another name.
    Score: unmeasured with ImageNet weights. On CamVid with the small network, weights trained on
    other drives brought 5 to 9 points of PQ over random ones at equal steps, with 30 photographs
    and 5 seeds (benchmarks/finetuning.py, docs/photographs.md).
    Time: unmeasured; a step takes about three times as long as one of camvid.
    """
    base = camvid()
    model = replace(
        small_model(),
        width=1.0,
        norm="frozen",
        frozen_stages=2,
        imagenet=True,
        pyramid_channels=64,
        semantic_channels=64,
        mask_channels=64,
    )
    return replace(
        base,
        preset="photos",
        max_steps=1500,
        save_every=100,
        eval_every=100,
        patience=5,
        fallback="toy",
        data=replace(
            base.data,
            root="data/mine",
            shortest_edges=tuple(range(256, 449, 32)),  # 0.8 to 1.4 times 320
            crop=(256, 320),
        ),
        model=model,
        optim=replace(base.optim, lr=1e-3),
        predict=PredictConfig(shortest_edge=320, min_stuff_area=1024),
    )


def finetune() -> TrainConfig:
    """A few hundred photographs of your own on a GPU: detectron2's COCO weights go on learning.

    Command: `pfpn train finetune data=FOLDER --out runs/mine`; `pfpn download zoo` fetches the
    weights beforehand. Their arithmetic is taken over with them: BGR, deviations of 1, the stride
    in the 1x1. Rows of classes with the same name go on, the others are new; a table says which.
    Stem and res2 stay as they are; a run ends when PQ on the validation split has not risen in 4
    evaluations, and the weights of the best one are kept. The rate is 0.4 of the published
    one, which is 0.005 in proportion to 4 images instead of 16.
    Score: unmeasured; the weights have PQ 41.5 on COCO, as published. What trained weights brought
    on CamVid was measured with the small network alone (benchmarks/finetuning.py).
    Time: unmeasured; about 20 minutes on one V100 by the 0.3 seconds that detectron2 publishes for
    a step of 2 images there.
    """
    return TrainConfig(
        preset="finetune",
        batch_size=4,
        max_steps=2000,
        save_every=200,
        eval_every=200,
        patience=4,
        init="coco_panoptic_fpn_r50_3x",
        take_network=True,
        data=DataConfig(root="data/mine", shortest_edges=(640, 672, 704, 736, 768, 800), workers=2),
        optim=OptimConfig(
            lr=0.002,
            reference_batch=4,
            warmup_steps=200,
            schedule="linear",
            decay_start=0.5,
            final_factor=0.01,
        ),
    )


def coco_r50_1x() -> TrainConfig:
    """COCO panoptic, ResNet-50, 90,000 steps of 16 images: detectron2's recipe.

    Command: `torchrun --nproc-per-node 8 -m pfpn train coco_r50_1x data=FOLDER --out runs/coco`.
    Score, published: PQ 39.4 by detectron2, whose ImageNet weights are others than ours (those of
    torchvision); 39.0 by [PFPN]. Unmeasured here.
    Memory: estimated 4.1 GiB per GPU of 2 images, libraries on top; detectron2 publishes 4.8 GB.
    Time: estimated 7.6 hours on 8 V100, by 0.304 seconds a step.
    """
    return TrainConfig(
        preset="coco_r50_1x",
        eval_ap=True,
        data=DataConfig(
            root="data/coco",
            train_split="train2017",
            val_split="val2017",
            shortest_edges=(640, 672, 704, 736, 768, 800),
            group_by_aspect=True,
            workers=4,
        ),
        model=_imagenet_model(50),
        optim=OptimConfig(reference_batch=16),
    )


def coco_r50_3x() -> TrainConfig:
    """COCO panoptic, ResNet-50, 270,000 steps: three times as long as 1x.

    Command: `torchrun --nproc-per-node 8 -m pfpn train coco_r50_3x data=FOLDER --out runs/coco`.
    Score, published: PQ 41.5 by detectron2, from other ImageNet weights. Unmeasured here.
    Memory: estimated 4.1 GiB per GPU of 2 images, libraries on top; detectron2 publishes 4.8 GB.
    Time: estimated 22.7 hours on 8 V100, by 0.302 seconds a step.
    """
    base = coco_r50_1x()
    return replace(
        base,
        preset="coco_r50_3x",
        max_steps=270_000,
        optim=replace(base.optim, milestones=(210_000, 250_000)),
    )


def coco_r101_3x() -> TrainConfig:
    """COCO panoptic, ResNet-101, 270,000 steps.

    Command: `torchrun --nproc-per-node 8 -m pfpn train coco_r101_3x data=FOLDER --out runs/coco`.
    Score, published: PQ 43.0 by detectron2, from other ImageNet weights. Unmeasured here.
    Memory: estimated 5.2 GiB per GPU of 2 images, libraries on top; detectron2 publishes 6.0 GB.
    Time: estimated 29.4 hours on 8 V100, by 0.392 seconds a step.
    """
    return replace(coco_r50_3x(), preset="coco_r101_3x", model=_imagenet_model(101))


def cityscapes_r50() -> TrainConfig:
    """Cityscapes, ResNet-50, 65,000 steps of 32 crops of 512 x 1024 pixels.

    Command: `torchrun --nproc-per-node 8 -m pfpn train cityscapes_r50 data=FOLDER --out runs/city`.
    Score, published: PQ 57.7 by [PFPN]. Unmeasured here.
    Memory: estimated 3.6 GiB per GPU of 4 crops, libraries on top.
    Time: estimated 9.6 hours on 8 V100, by 0.53 seconds a step, which nobody published: that of
    coco_r50_1x times 1.75, for 1.5 times the pixels and twice the images.
    """
    return TrainConfig(
        preset="cityscapes_r50",
        batch_size=32,
        max_steps=65_000,
        data=DataConfig(
            root="data/cityscapes",
            shortest_edges=tuple(range(512, 2049, 64)),  # 0.5 to 2 times the images' 1024
            longest_edge=4096,
            crop=(512, 1024),
            workers=4,
        ),
        model=replace(_imagenet_model(50), semantic_weight=1.0),
        optim=OptimConfig(lr=0.01, reference_batch=32, milestones=(40_000, 55_000)),
        predict=PredictConfig(shortest_edge=1024, longest_edge=2048, min_stuff_area=2048),
    )


def _imagenet_model(depth: Depth) -> ModelConfig:
    """The published model, but for what torchvision's ImageNet weights expect."""
    return replace(
        ModelConfig(),
        depth=depth,
        channel_order="RGB",
        pixel_mean=IMAGENET_MEAN,
        pixel_std=IMAGENET_STD,
        stride_in_1x1=False,
        imagenet=True,
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    preset.__name__: preset
    for preset in (
        toy,
        camvid,
        photos,
        finetune,
        coco_r50_1x,
        coco_r50_3x,
        coco_r101_3x,
        cityscapes_r50,
    )
}
