"""Give each picture of a notebook its description where it becomes a page.

`show` keeps the description beside the stored picture, where neither nbconvert nor MyST looks for
it, so a screen reader would meet pictures without words. As a page with all descriptions:

    jupyter nbconvert --to pfpn.course.describe.Page notebooks/00_panoptic_segmentation.ipynb
"""

from typing import Any

from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import Preprocessor

from pfpn.course.show import picture_html


def describe_pictures(notebook: Any) -> None:
    """Turn each stored picture that has a description into HTML with that `alt`, in place.

    Args:
        notebook: as nbformat or json reads it.
    """
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            picture = output.get("metadata", {}).get("image/png", {})
            data = output.get("data", {})
            if "image/png" in data and picture.get("alt"):
                data.pop("application/vnd.jupyter.widget-view+json", None)  # it needs a kernel
                png = "".join(data.pop("image/png")).replace("\n", "")
                data["text/html"] = picture_html(
                    png, picture["alt"], picture["width"], picture["height"]
                )


class DescribePictures(Preprocessor):
    """What nbconvert does with a notebook first: see `describe_pictures`."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Return the notebook with its pictures described."""
        describe_pictures(nb)
        return nb, resources


class Page(HTMLExporter):
    """nbconvert's HTML, with the descriptions of the pictures."""

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.register_preprocessor(DescribePictures, enabled=True)
