import contextlib
import copy
import dataclasses

import pytest
import torch
from torch.testing import assert_close

from pfpn.model import (
    LOSS_NAMES,
    ModelConfig,
    PanopticFPN,
    stack_label_maps,
    total_loss,
)
from pfpn.structures import IGNORE, Batch, Instances
from tests.factories import (
    NUM_SEMANTIC,
    NUM_THINGS,
    confident_model,
    random_batch,
    random_image,
    random_instances,
    tiny_config,
    tiny_model,
)
from tests.oracles.detectron2_figures import draw_evenly

NO_THINGS = {"instance_branch": False}
NO_STUFF = {"semantic_branch": False}


def without_instances(size: tuple[int, int]) -> Instances:
    return random_instances(0, size, torch.Generator())


def assert_every_parameter_learns(model: PanopticFPN) -> None:
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    bad = [
        n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()
    ]
    assert not bad


def step(model: PanopticFPN, batch: Batch) -> dict[str, torch.Tensor]:
    """One backward pass; the losses."""
    losses = model.train()(batch, torch.Generator().manual_seed(0))
    assert all(loss.isfinite() for loss in losses.values()), losses
    total_loss(losses, model.config).backward()
    assert_every_parameter_learns(model)
    return losses


# --- what comes out ----------------------------------------------------------------------------


def test_losses_have_their_names_and_are_scalars(rng):
    losses = step(tiny_model(), random_batch([(64, 96), (48, 80)], rng))
    assert tuple(losses) == LOSS_NAMES
    assert all(loss.shape == () and loss > 0 for loss in losses.values())


def test_predictions_have_their_shapes_ranges_and_order(rng):
    sizes = [(64, 96), (50, 70)]
    model = confident_model()
    raw = model.infer([random_image(size, rng) for size in sizes])
    assert raw.sizes == sizes
    assert raw.semantic_logits.shape == (2, NUM_SEMANTIC, 16, 24)
    for detected, size in zip(raw.detections, sizes, strict=True):
        n = len(detected)
        assert 0 < n <= model.config.max_detections
        assert detected.boxes.shape == (n, 4)
        assert detected.mask_probs.shape == (n, 28, 28)
        assert (detected.scores.diff() <= 0).all()
        assert (detected.scores > model.config.min_score).all()
        assert ((detected.mask_probs >= 0) & (detected.mask_probs <= 1)).all()
        assert ((detected.labels >= 0) & (detected.labels < NUM_THINGS)).all()
        assert (detected.boxes >= 0).all()
        assert (detected.boxes[:, 2] <= size[1]).all()
        assert (detected.boxes[:, 3] <= size[0]).all()


def test_forward_gives_losses_whatever_the_mode(rng):
    model, batch = tiny_model(), random_batch([(32, 32)], rng)
    training = model.train()(batch, torch.Generator().manual_seed(1))
    evaluating = model.eval()(batch, torch.Generator().manual_seed(1))
    for name in LOSS_NAMES:  # frozen batch norm: the same numbers, too
        assert_close(training[name], evaluating[name])


def test_losses_depend_on_the_given_generator_alone(rng):
    model, batch = tiny_model(rpn_samples=16), random_batch([(64, 64)], rng)
    torch.manual_seed(1)
    first = model.losses(batch, torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    again = model.losses(batch, torch.Generator().manual_seed(3))
    other = model.losses(batch, torch.Generator().manual_seed(4))
    assert all(torch.equal(first[name], again[name]) for name in LOSS_NAMES)
    assert not torch.equal(first["loss_rpn_objectness"], other["loss_rpn_objectness"])


def test_total_is_the_weighted_sum_of_both_branches():
    config = tiny_config(instance_weight=2.0, semantic_weight=0.25)
    losses = {name: torch.tensor(10.0**i) for i, name in enumerate(LOSS_NAMES)}
    assert total_loss(losses, config) == 2 * 11111 + 0.25 * 100000
    del losses["loss_semantic"]
    assert total_loss(losses, config) == 2 * 11111
    assert total_loss({"loss_semantic": torch.tensor(3.0)}, config) == 0.75


def test_a_loss_without_weight_has_no_gradient(rng):
    model = tiny_model(semantic_weight=0.0)
    step(model, random_batch([(32, 32)], rng))
    assert not any(p.grad.any() for p in model.semantic_head.parameters())
    model = tiny_model(instance_weight=0.0)
    step(model, random_batch([(32, 32)], rng))
    for head in (model.rpn_head, model.box_head, model.mask_head):
        assert not any(p.grad.any() for p in head.parameters())


# --- input -------------------------------------------------------------------------------------


def test_images_are_normalized_first_and_padded_with_zeros_then():
    model = tiny_model(pixel_mean=(10.0, 20.0, 30.0), pixel_std=(1.0, 2.0, 5.0))
    image = torch.tensor([40, 50, 60], dtype=torch.uint8).view(3, 1, 1).expand(3, 20, 33)
    stacked, sizes = model.stack([image])
    assert stacked.shape == (1, 3, 32, 64)
    assert sizes == [(20, 33)]
    # BGR: blue (60 - 10) / 1, green (50 - 20) / 2, red (40 - 30) / 5
    assert stacked[0, :, 0, 0].tolist() == [50, 15, 2]
    assert not stacked[0, :, 20:].any()
    assert not stacked[0, :, :, 33:].any()
    rgb = tiny_model(pixel_mean=(10.0, 20.0, 30.0), pixel_std=(1.0, 2.0, 5.0), channel_order="RGB")
    assert rgb.stack([image])[0][0, :, 0, 0].tolist() == [30, 15, 6]


def test_a_batch_without_images_is_refused():
    with pytest.raises(ValueError, match="found a batch without images, expected at least one"):
        tiny_model().infer([])
    with pytest.raises(ValueError, match="found a batch without images, expected at least one"):
        tiny_model().losses(Batch([], [], [], []), torch.Generator())


def test_a_batch_is_padded_to_its_largest_height_and_width(rng):
    images = [random_image(size, rng) for size in ((10, 90), (70, 20), (64, 64))]
    stacked, sizes = tiny_model().stack(images)
    assert stacked.shape == (3, 3, 96, 96)
    assert sizes == [(10, 90), (70, 20), (64, 64)]


def test_label_maps_are_padded_with_ignore():
    stacked = stack_label_maps([torch.zeros(2, 3, dtype=torch.int64)], (4, 5))
    assert stacked.shape == (1, 4, 5)
    assert not stacked[0, :2, :3].any()
    assert (stacked == IGNORE).sum() == 20 - 6


def test_the_semantic_loss_ignores_padding(rng):
    batch = random_batch([(20, 40)], rng)
    padded_by_hand = dataclasses.replace(
        batch, label_maps=[stack_label_maps(batch.label_maps, (32, 64))[0]]
    )
    losses = [
        tiny_model().losses(b, torch.Generator())["loss_semantic"] for b in (batch, padded_by_hand)
    ]
    assert torch.equal(*losses)


# --- batches -----------------------------------------------------------------------------------


def test_two_images_of_one_size_in_a_batch_are_as_each_alone(rng):
    model = confident_model()
    images = [random_image((64, 96), rng) for _ in range(2)]
    together = model.infer(images)
    for i, image in enumerate(images):
        alone = model.infer([image])
        own = together.semantic_logits[i : i + 1]
        assert_close(own, alone.semantic_logits, rtol=1e-4, atol=1e-4)
        a, b = together.detections[i], alone.detections[0]
        assert len(b) > 0
        assert torch.equal(a.labels, b.labels)
        assert_close(a.scores, b.scores, rtol=0, atol=1e-4)
        assert_close(a.boxes, b.boxes, rtol=1e-4, atol=1e-3)
        assert_close(a.mask_probs, b.mask_probs, rtol=0, atol=1e-4)


def test_losses_of_two_images_of_one_size_are_the_mean_of_each_alone(rng, monkeypatch):
    monkeypatch.setattr("pfpn.matching.draw", draw_evenly)
    model = tiny_model()
    batch = random_batch([(64, 96), (64, 96)], rng)
    batch.label_maps[1][:] = batch.label_maps[1].where(batch.label_maps[0] != IGNORE, IGNORE)
    parts = [
        Batch([batch.images[i]], [batch.instances[i]], [batch.label_maps[i]], [i]) for i in (0, 1)
    ]
    together = model.losses(batch, rng)
    alone = [model.losses(part, rng) for part in parts]
    for name in LOSS_NAMES:
        if name != "loss_mask":  # which is a mean over all masks of the batch, not over images
            mean = (alone[0][name] + alone[1][name]) / 2
            assert_close(together[name], mean, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 65), (32, 32), (130, 3)])
def test_any_size_trains_and_predicts(size, norm, rng):
    model = tiny_model(norm=norm)
    step(model, random_batch([size], rng, num_instances=1))
    raw = model.eval().infer([random_image(size, rng)])
    assert raw.semantic_logits.isfinite().all()
    assert raw.semantic_logits.shape[2:] == (-(-size[0] // 32) * 8, -(-size[1] // 32) * 8)


def test_a_batch_of_different_sizes_trains_and_predicts(rng):
    sizes = [(1, 1), (64, 33), (7, 96)]
    model = confident_model()
    step(model, random_batch(sizes, rng))
    raw = model.eval().infer([random_image(size, rng) for size in sizes])
    for detected, (height, width) in zip(raw.detections, sizes, strict=True):
        assert (detected.boxes <= torch.tensor([width, height, width, height])).all()


EMPTY = {
    "no instances": lambda b: dataclasses.replace(
        b, instances=[without_instances((40, 50)) for _ in b.instances]
    ),
    "no instances in one": lambda b: dataclasses.replace(
        b, instances=[b.instances[0], without_instances((40, 50))]
    ),
    "no stuff": lambda b: dataclasses.replace(
        b, label_maps=[torch.zeros_like(labels) for labels in b.label_maps]
    ),
    "all void": lambda b: dataclasses.replace(
        b, label_maps=[torch.full_like(labels, IGNORE) for labels in b.label_maps]
    ),
    "nothing at all": lambda b: dataclasses.replace(
        b,
        instances=[without_instances((40, 50)) for _ in b.instances],
        label_maps=[torch.full_like(labels, IGNORE) for labels in b.label_maps],
    ),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_images_without_truth_still_give_every_parameter_a_gradient(kind, rng):
    batch = EMPTY[kind](random_batch([(40, 50), (40, 50)], rng))
    losses = step(tiny_model(), batch)
    if kind in ("no instances", "nothing at all"):
        assert losses["loss_rpn_box"] == losses["loss_box"] == losses["loss_mask"] == 0
        assert losses["loss_class"] > 0  # background is learned
    if kind in ("all void", "nothing at all"):
        assert losses["loss_semantic"] == 0


def test_no_proposal_and_no_truth_still_give_every_parameter_a_gradient(rng):
    batch = EMPTY["nothing at all"](random_batch([(40, 50), (40, 50)], rng))
    losses = step(tiny_model(train_proposals=0), batch)
    assert losses["loss_class"] == losses["loss_box"] == losses["loss_mask"] == 0


def test_a_model_without_detections_returns_empty_ones(rng):
    model = tiny_model()
    model.box_head.classify.bias.data[-1] = 100  # background, surely
    raw = model.infer([random_image((40, 50), rng)])
    assert len(raw.detections[0]) == 0
    assert raw.detections[0].mask_probs.shape == (0, 28, 28)
    raw = tiny_model(test_proposals=0).infer([random_image((40, 50), rng)])
    assert len(raw.detections[0]) == 0


# --- branches ----------------------------------------------------------------------------------


def test_semantic_fpn_alone_trains_and_predicts(rng):
    model = tiny_model(**NO_THINGS)
    assert not any(hasattr(model, head) for head in ("rpn_head", "box_head", "mask_head"))
    losses = step(model, random_batch([(40, 50)], rng))
    assert tuple(losses) == ("loss_semantic",)
    raw = model.eval().infer([random_image((40, 50), rng), random_image((30, 50), rng)])
    assert [len(detected) for detected in raw.detections] == [0, 0]
    assert raw.semantic_logits.shape == (2, NUM_SEMANTIC, 16, 16)


def test_mask_rcnn_alone_trains_and_predicts(rng):
    model = confident_model(**NO_STUFF)
    assert not hasattr(model, "semantic_head")
    losses = step(model, random_batch([(40, 50)], rng))
    assert tuple(losses) == LOSS_NAMES[:-1]
    raw = model.eval().infer([random_image((40, 50), rng)])
    assert len(raw.detections[0]) > 0
    assert raw.semantic_logits.shape == (1, 0, 16, 16)


def test_a_branch_left_out_does_not_change_the_other(rng):
    image = random_image((64, 96), rng)
    both = confident_model()
    things, stuff = tiny_model(**NO_STUFF), tiny_model(**NO_THINGS)
    things.load_state_dict({k: v for k, v in both.state_dict().items() if k in things.state_dict()})
    stuff.load_state_dict({k: v for k, v in both.state_dict().items() if k in stuff.state_dict()})
    whole = both.infer([image])
    assert torch.equal(things.infer([image]).detections[0].boxes, whole.detections[0].boxes)
    assert torch.equal(stuff.infer([image]).semantic_logits, whole.semantic_logits)


# --- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**NO_THINGS, **NO_STUFF}, r"semantic_branch: found False, expected at least one branch"),
        ({"num_things": 0}, r"num_things: found 0, expected 1 or more"),
        ({"num_semantic": 256}, r"num_semantic: found 256, expected 1..255"),
        ({"num_semantic": 0}, r"num_semantic: found 0"),
        ({"channel_order": "GBR"}, r"channel_order: found 'GBR', expected 'BGR' or 'RGB'"),
        ({"pixel_std": (1.0, 0.0, 1.0)}, r"pixel_std: found \(1.0, 0.0, 1.0\)"),
        ({"width": 0.0}, r"width: found 0.0, expected a number in "),
        ({"frozen_stages": 6}, r"frozen_stages: found 6, expected a number in "),
        ({"semantic_channels": 30}, r"semantic_channels: found 30, expected a multiple"),
        ({"semantic_channels": 0}, r"semantic_channels: found 0"),
        ({"anchor_sides": (8.0, 16.0)}, r"anchor_sides: found \(8.0, 16.0\), expected five"),
        ({"anchor_ratios": ()}, r"anchor_ratios: found \(\), expected 1 to 100 ratios"),
        ({"rpn_low": 0.8}, r"rpn_low: found 0.8, expected rpn_low <= rpn_high"),
        (
            {"box_positive_fraction": 1.5},
            r"box_positive_fraction: found 1.5, expected a number in ",
        ),
    ],
)
def test_invalid_settings_are_refused_with_field_found_and_expected(changes, message):
    with pytest.raises(ValueError, match=r"^ModelConfig\." + message):
        tiny_config(**changes)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("depth", 20, r"depth: found 20, expected one of \[18, 34, 50, 101\]"),
        ("norm", "group", r"norm: found 'group', expected one of \['frozen', 'batch'\]"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(field, value, message):
    config = tiny_config()
    object.__setattr__(config, field, value)  # past the type check that tests may run under
    with pytest.raises(ValueError, match=r"^ModelConfig\." + message):
        config.__post_init__()


def test_semantic_branch_alone_needs_no_thing_classes():
    assert tiny_config(num_things=0, **NO_THINGS).num_things == 0


def test_defaults_are_those_of_the_published_model():
    with torch.device("meta"):
        model = PanopticFPN(ModelConfig())
    # Parameters and values with buffers of the published R-50 checkpoints, in millions
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(45.97, abs=0.03)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable / 1e6 == pytest.approx(45.75, abs=0.03)
    assert sum(v.numel() for v in model.state_dict().values()) / 1e6 == pytest.approx(
        46.08, abs=0.01
    )
    assert len(model.state_dict()) == 330


# --- further properties ------------------------------------------------------------------------


@pytest.mark.parametrize("min_score", [0.0, 0.05, 0.4, 0.9, 1.0])
def test_min_score_gives_the_same_as_filtering(min_score, rng):
    model = confident_model()
    images = [random_image((64, 96), rng), random_image((40, 96), rng)]
    everything = model.infer(images).detections
    assert sum(len(detected) for detected in everything) > 10
    for detected, part in zip(everything, model.infer(images, min_score).detections, strict=True):
        expected = detected[detected.scores >= min_score]
        assert torch.equal(part.boxes, expected.boxes)
        assert torch.equal(part.scores, expected.scores)
        assert torch.equal(part.labels, expected.labels)
        assert_close(part.mask_probs, expected.mask_probs, rtol=0, atol=1e-4)


def test_channels_last_changes_only_rounding(rng):
    model = confident_model()
    images = [random_image((64, 96), rng)]
    batch = random_batch([(64, 96)], rng)
    raw, losses = model.infer(images), model.losses(batch, torch.Generator().manual_seed(0))
    model = model.to(memory_format=torch.channels_last)
    other = model.infer(images)
    assert_close(other.semantic_logits, raw.semantic_logits, rtol=1e-4, atol=1e-4)
    assert len(other.detections[0]) == len(raw.detections[0])
    assert_close(other.detections[0].scores, raw.detections[0].scores, rtol=1e-4, atol=1e-4)
    for name, loss in model.losses(batch, torch.Generator().manual_seed(0)).items():
        assert_close(loss, losses[name], rtol=1e-4, atol=1e-5, msg=name)


def test_frozen_parts_are_unchanged_by_training(rng):
    model = tiny_model(frozen_stages=2)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    step(model, random_batch([(64, 64)], rng))
    optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not v.equal(before[k])}
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert changed <= trainable
    assert not any(k.startswith(("backbone.conv1", "backbone.layer1")) for k in changed)
    assert any(k.startswith("backbone.layer2") for k in changed)


def test_training_works_after_inference_mode(rng):
    model = tiny_model()
    with torch.inference_mode():
        model.infer([random_image((96, 224), rng)])
    step(model, random_batch([(96, 224)], rng))


def test_prediction_records_no_gradient(rng):
    raw = confident_model().infer([random_image((32, 32), rng)])
    assert not raw.semantic_logits.requires_grad
    assert not raw.detections[0].mask_probs.requires_grad


def test_autocast_trains_and_predicts(rng):
    model = tiny_model()
    batch = random_batch([(32, 32)], rng)
    exact = model.losses(batch, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.losses(batch, torch.Generator().manual_seed(0))
        raw = model.infer(batch.images)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert_close(loss, exact[name], rtol=0.1, atol=0.02, msg=name)
    total_loss(losses, model.config).backward()
    assert_every_parameter_learns(model)
    assert raw.detections[0].scores.dtype == torch.float32


# --- stages ------------------------------------------------------------------------------------


def test_stages_own_no_weights():
    keys = set(tiny_model().state_dict())
    heads = {key.partition(".")[0] for key in keys}
    assert heads == {"backbone", "fpn", "semantic_head", "rpn_head", "box_head", "mask_head"}
    model = tiny_model()
    assert model.proposal_network.head is model.rpn_head
    assert model.roi_heads.box_head is model.box_head
    assert model.roi_heads.mask_head is model.mask_head
    assert not hasattr(tiny_model(**NO_THINGS), "roi_heads")


def test_a_copied_model_uses_its_own_heads(rng):
    model = confident_model()
    image = random_image((64, 96), rng)
    before = model.infer([image]).detections[0]
    assert len(before) > 0
    other = copy.deepcopy(model)
    for head in (other.rpn_head, other.box_head, other.mask_head):
        for weight in head.parameters():
            weight.data.zero_()
    assert not torch.equal(other.infer([image]).detections[0].boxes, before.boxes)
    assert torch.equal(model.infer([image]).detections[0].boxes, before.boxes)


def test_a_replaced_config_takes_effect(rng):
    model = confident_model()
    image = random_image((64, 96), rng)
    assert len(model.infer([image]).detections[0]) > 1
    model.config = dataclasses.replace(model.config, max_detections=1)
    assert len(model.infer([image]).detections[0]) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler and torchvision's operators give their own
def test_a_compiled_model_gives_the_same_losses(rng):
    model, batch = tiny_model(), random_batch([(64, 64)], rng)
    exact = model(batch, torch.Generator().manual_seed(0))
    compiled = torch.compile(model, backend="eager")
    for name, loss in compiled(batch, torch.Generator().manual_seed(0)).items():
        assert_close(loss, exact[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.filterwarnings("ignore")
def test_an_attempted_export_leaves_the_model_usable(rng):
    # Tracing replaces tensors by placeholders; none may stay behind, as it would in a cache.
    model = confident_model()
    image = random_image((96, 160), rng)

    class Export(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, image):
            return self.model.infer([image]).semantic_logits

    with contextlib.suppress(RuntimeError):  # whichever operator it cannot trace
        torch.export.export(Export(), (image,))
    assert len(model.infer([image]).detections[0]) > 0
