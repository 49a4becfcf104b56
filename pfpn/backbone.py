"""From an image to four feature maps: a ResNet that returns the output of every stage.

Blocks and names are torchvision's, so that its ImageNet weights load unchanged.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.models.resnet import BasicBlock, Bottleneck

Norm = Literal["frozen", "batch"]
Depth = Literal[18, 34, 50, 101]

# depth: (block, blocks in each of the four stages)
LAYOUTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
STEM_CHANNELS = 64  # also the first stage's width; each later stage doubles it


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics, scale and shift: four buffers, nothing to learn.

    Detection batches are too small to estimate statistics from, so published models keep those of
    ImageNet. Source: [MRCNN] 3.1.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        like = nn.BatchNorm2d(channels)
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, getattr(like, name).detach().clone())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y: Tensor = _FixedNorm.apply(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.eps
        )
        return y


class _FixedNorm(torch.autograd.Function):
    """Fixed batch norm that does not store its input: saves a third of a training's memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *numbers: Any) -> Tensor:
        mean, variance, weight, bias, eps = numbers
        ctx.save_for_backward(weight * (variance + eps).rsqrt())
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        scale = ctx.saved_tensors[0].to(grad.dtype)
        return grad * scale.view(-1, 1, 1), None, None, None, None, None


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where a channel has only one value.

    One value has no variance; c5 of a single image of up to 32 x 32 pixels has one per channel.
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if x.numel() > x.shape[1]:
            return super().forward(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "frozen": FrozenBatchNorm2d,
    "batch": BatchNorm2d,
}


class ResNet(nn.Module):
    """Return feature maps "c2".."c5", at strides 4, 8, 16 and 32, of a batch of images.

    Args:
        depth: 18, 34, 50 or 101 layers.
        width: multiplies every channel count; 0.5 suits a laptop's CPU.
        norm: "frozen" for pretrained statistics, "batch" to learn from scratch.
        stride_in_1x1: put a bottleneck's stride in its first 1x1 (the original ResNet and the
            published detectors), not in its 3x3 (torchvision). ResNet-18 and -34 have none.
        frozen_stages: how many parts stay untrained (0..5): the stem, then the four stages.
    """

    def __init__(
        self,
        depth: Depth = 50,
        *,
        width: float = 1.0,
        norm: Norm = "frozen",
        stride_in_1x1: bool = True,
        frozen_stages: int = 2,
    ):
        super().__init__()
        block, num_blocks = LAYOUTS[depth]
        base = round(STEM_CHANNELS * width)
        self.conv1 = nn.Conv2d(3, base, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = NORMS[norm](base)
        in_channels = base
        self.channels: list[int] = []
        for i, count in enumerate(num_blocks):
            stage, in_channels = _stage(
                block, in_channels, base * 2**i, count, 1 if i == 0 else 2, norm, stride_in_1x1
            )
            self.add_module(f"layer{i + 1}", stage)
            self.channels.append(in_channels)
        # Kaiming-normal by fan-out, as for every ResNet trained from scratch.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        stages = [self.conv1, self.bn1], *([getattr(self, f"layer{i}")] for i in range(1, 5))
        self._frozen = [part for stage in stages[:frozen_stages] for part in stage]
        for part in self._frozen:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> "ResNet":
        super().train(mode)
        for part in self._frozen:  # so that their batch norm keeps its statistics
            part.eval()
        return self

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _c _h _w"]]:
        x = F.max_pool2d(self.bn1(self.conv1(images)).relu_(), kernel_size=3, stride=2, padding=1)
        features = {}
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
            features[f"c{i + 1}"] = x
        return features


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    channels: int,
    count: int,
    stride: int,
    norm: Norm,
    stride_in_1x1: bool,
) -> tuple[nn.Sequential, int]:
    out_channels = channels * block.expansion
    blocks = []
    for i in range(count):
        step = stride if i == 0 else 1
        shortcut = None
        if step != 1 or in_channels != out_channels:
            shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=step, bias=False),
                NORMS[norm](out_channels),
            )
        made = block(in_channels, channels, step, shortcut, norm_layer=NORMS[norm])
        if isinstance(made, Bottleneck) and stride_in_1x1:
            made.conv1.stride, made.conv2.stride = made.conv2.stride, made.conv1.stride
        blocks.append(made)
        in_channels = out_channels
    return nn.Sequential(*blocks), out_channels


def load_imagenet(backbone: ResNet, depth: Depth) -> None:
    """Download torchvision's ImageNet weights of this depth and load all but the classifier.

    They expect RGB in [0, 1], minus mean, over std, and the stride in the 3x3. Version 1 of two:
    torchvision trained its own Mask R-CNN with the same schedule from it.
    """
    weights = get_model_weights(f"resnet{depth}")["IMAGENET1K_V1"]
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:  # which URLError is, too
        cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        raise ValueError(
            f"ImageNet weights: the download of {weights.url} failed ({error}). Without a network: "
            f"fetch it by hand and save it as {cached}"
        ) from error
    own = backbone.state_dict()
    backbone.load_state_dict({key: value for key, value in state.items() if key in own})
