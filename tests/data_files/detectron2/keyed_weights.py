"""Pseudo-random weights that depend only on a tensor's name and shape.

`keyed_state_dict(json.load(open("key_shapes_r50.json")))` gives, on every machine, the state dict
(in detectron2's names) behind the reference figures beside this file; `digest` of it is DIGEST_R50.
Needs torch only; about a second. Only uniform draws are used (normal draws may round differently
from one vector unit to another). The gains keep the activations sane and let the detector find
something.
"""

import hashlib
import math
import zlib

import torch
from torch import Tensor

DIGEST_R50 = "d5be6c5929d7b61b4593cb793fea3409a04087787614b80c2c51fe4206c93b4a"
BACKGROUND_BIAS = 13.5

GAINS = [  # first match on a substring of the name wins
    ("stem.conv1.weight", 1 / 50),
    ("shortcut.weight", 1.0),
    ("conv3.weight", 1.25),
    ("bottom_up", math.sqrt(2)),
    ("fpn_lateral", 1.0),
    ("fpn_output2", 0.8),
    ("fpn_output3", 1.0),
    ("fpn_output4", 1.3),
    ("fpn_output5", 2.2),
    ("rpn_head.conv", math.sqrt(2)),
    ("objectness_logits", 3.0),
    ("anchor_deltas", 0.4),
    ("box_head.fc", math.sqrt(2)),
    ("cls_score", 8.0),
    ("bbox_pred", 1.0),
    ("mask_head.mask_fcn", math.sqrt(2)),
    ("mask_head.deconv", 2 * math.sqrt(2)),
    ("mask_head.predictor", 4.0),
    ("sem_seg_head.predictor", 3.0),
    ("sem_seg_head", math.sqrt(2)),
]


def uniform(key: str, shape: tuple[int, ...]) -> Tensor:
    """Draw float32 values in [-1, 1) from a generator seeded by the name."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float32) * 2 - 1


def keyed_tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    u = uniform(key, shape)
    if ".norm." in key:  # frozen batch norm in the backbone, group norm in the semantic head
        centered_at_one = key.endswith((".weight", ".running_var"))
        return 1 + 0.1 * u if centered_at_one else 0.1 * u
    if key.endswith(".bias"):
        if "cls_score" in key:
            bias = 0.5 * u
            bias[-1] = BACKGROUND_BIAS
            return bias
        if "anchor_deltas" in key:  # channel = anchor * 4 + (dx, dy, dw, dh): grow boxes a little
            return 0.1 * u + torch.tensor([0.0, 0.0, 0.6, 0.6]).repeat(len(u) // 4)
        return 0.1 * u
    gain = next(gain for part, gain in GAINS if part in key)
    if "conv3.weight" in key:  # ...res4.<block>.conv3.weight
        # Damp late blocks, so that R-101 stays sane.
        gain /= math.sqrt(1 + int(key.split(".")[-3]))
    u = u - u.flatten(1).mean(1).view(-1, *[1] * (u.dim() - 1))
    return u * (gain * math.sqrt(3.0 / math.prod(shape[1:])))


def keyed_state_dict(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {key: keyed_tensor(key, shape) for key, shape in shapes.items()}


def digest(state_dict: dict[str, Tensor]) -> str:
    """SHA-256 over names and bytes, in sorted order."""
    sha = hashlib.sha256()
    for key in sorted(state_dict):
        sha.update(key.encode())
        sha.update(state_dict[key].detach().contiguous().numpy().tobytes())
    return sha.hexdigest()
