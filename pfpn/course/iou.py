"""Mean IoU of label maps, as the chapters print it: the package's own score of semantic maps."""

from jaxtyping import Int
from torch import Tensor

from pfpn.quality import SemanticQuality


def mean_iou(predicted: Int[Tensor, "*n"], labels: Int[Tensor, "*n"], num_classes: int) -> float:
    """Return the mean IoU, in [0, 1], of the classes that truth or prediction has.

    Args:
        predicted: labels of one image or of many, which are counted together.
        labels: the truth; 255 where a pixel does not count.
        num_classes: labels are below it.
    """
    quality = SemanticQuality([str(label) for label in range(num_classes)])
    quality.update(labels.reshape(1, -1), predicted.reshape(1, -1))
    result = quality.compute().miou
    return float("nan") if result is None else result
