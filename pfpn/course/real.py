"""Beyond the drawn world: a photograph of the reader's own, and published weights if they are here.

Nothing is downloaded. `pfpn download zoo coco_panoptic_fpn_r50_3x` fetches the weights; the
photograph is a file beside the course's data. Without them a chapter goes on: the toy weights look
at a drawn street.
"""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from pfpn import zoo
from pfpn.course.photograph import MY_PHOTO
from pfpn.data.categories import coco_categories
from pfpn.data.coco import read_image
from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import Trained, load_weights
from pfpn.predict import PredictConfig
from pfpn.shipped import TOY_WEIGHTS, shipped

WEIGHTS = "coco_panoptic_fpn_r50_3x"
SEED = 7  # of the street that stands in for a photograph


@dataclass(frozen=True, slots=True)
class Real:
    """What a chapter's last cell works on."""

    image: UInt8[Tensor, "3 h w"]
    trained: Trained
    has_photo: bool  # else a drawn street
    has_weights: bool  # published ones; else the toy weights
    words: str  # what this is, and how what is missing comes here


def real_thing(photo: Path | str = MY_PHOTO, weights: str = WEIGHTS) -> Real:
    """Return the reader's photograph and published weights, or what stands in for them.

    Args:
        photo: a file that may be there or not.
        weights: a name of `zoo.MODELS` whose file may have been fetched or not.

    Raises:
        ValueError: a file is there and cannot be read.
    """
    photo = Path(photo)
    has_photo, has_weights = photo.is_file(), zoo.weights_path(weights).is_file()
    image = read_image(photo) if has_photo else ToyStreet(num=1, seed=SEED)[0].image
    if has_weights:
        trained = Trained(zoo.load(weights), tuple(coco_categories()), PredictConfig())
    else:
        trained = load_weights(shipped(TOY_WEIGHTS))
    words = [
        f"your photograph {photo.name}"
        if has_photo
        else f"a drawn street, for {photo} is not there",
        f"seen by {weights}"
        if has_weights
        else f"seen by the toy weights, for those of `pfpn download zoo {weights}` are not here",
    ]
    return Real(image, trained, has_photo, has_weights, "; ".join(words))
