"""Turn four feature maps into a pyramid: one width, semantic features at every resolution.

The backbone's deep maps tell classes apart, its shallow maps locate edges. A lateral 1x1
convolution brings each to one width, the top-down path adds the level above, a 3x3 smooths the sum.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}  # pixels of the input per cell
COARSEST_STRIDE = 32  # inputs are padded to a multiple of p5's stride, so that doubling is exact

Pyramid = dict[str, Tensor]  # "p2".."p6" -> (b, c, h, w)


class FPN(nn.Module):
    """Return p2..p6, computed from c2..c5, with `channels` channels. Source: [FPN] 3, Fig. 3."""

    def __init__(self, in_channels: list[int], channels: int = 256):
        super().__init__()
        self.lateral = nn.ModuleDict(
            {f"c{k}": nn.Conv2d(n, channels, 1) for k, n in enumerate(in_channels, start=2)}
        )
        self.smooth = nn.ModuleDict(
            {f"p{k}": nn.Conv2d(channels, channels, 3, padding=1) for k in range(2, 6)}
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, features: dict[str, Float[Tensor, "b _c _h _w"]]) -> Pyramid:
        merged = self.lateral["c5"](features["c5"])
        pyramid = {"p5": self.smooth["p5"](merged)}
        for k in (4, 3, 2):
            above = F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = self.lateral[f"c{k}"](features[f"c{k}"]) + above
            pyramid[f"p{k}"] = self.smooth[f"p{k}"](merged)
        # p6 is for large anchors only: every second cell of p5, without weights.
        pyramid["p6"] = F.max_pool2d(pyramid["p5"], kernel_size=1, stride=2)
        return dict(sorted(pyramid.items()))
