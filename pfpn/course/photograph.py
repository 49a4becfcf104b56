"""A photograph for the cells that leave the drawn world: the reader's own, or a known portrait."""

from pathlib import Path

import matplotlib
from jaxtyping import UInt8
from torch import Tensor

from pfpn.data.coco import read_image

MY_PHOTO = "../data/my_photo.jpg"  # seen from a notebook
SAMPLE = "grace_hopper.jpg"  # comes with matplotlib; a portrait, in the public domain


def photograph(path: str | Path = MY_PHOTO) -> tuple[UInt8[Tensor, "3 h w"], str]:
    """Return a photograph, RGB, and what it is in a few words.

    It is the file at `path` where there is one. Otherwise it is a portrait that comes with
    matplotlib, and one line says where to put one's own.
    """
    if Path(path).is_file():
        return read_image(Path(path)), "your photograph"
    print(f"No photograph at {str(path).removeprefix('../')} yet, so here is one from matplotlib.")
    sample = Path(matplotlib.get_data_path()) / "sample_data" / SAMPLE
    return read_image(sample), "a portrait of Grace Hopper"
