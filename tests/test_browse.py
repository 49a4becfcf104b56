"""The page of a data set: what it stores, and that it works in a browser without a network."""

import base64
import io
import json
import re
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.browse import Predictions, browse_page, image_entry, map_entry
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.structures import Category, Panoptic, Sample, Segment

CATEGORIES = [Category(3, "cat", is_thing=True), Category(9, "grass", is_thing=False)]


def decode(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def two_cats():
    ids = torch.tensor([[5, 5, 7], [8, 8, 0]])
    segments = (Segment(5, 0, True), Segment(7, 0, True, is_crowd=True), Segment(8, 1, False))
    return Panoptic(ids, segments)


def test_a_map_holds_each_segment_in_a_color_of_its_own():
    entry = map_entry(two_cats(), CATEGORIES)
    assert [(row[0], row[1], row[3], row[4]) for row in entry["segments"]] == [
        (0, 2, 0, None), (1, 2, 0, None), (0, 1, 1, None),
    ]  # fmt: skip
    image = decode(entry["png"]).convert("RGBA")
    pixels = np.array(image)
    assert pixels[1, 2, 3] == 0  # void is transparent
    colors = {tuple(bytes.fromhex(row[2][1:])): row[1] for row in entry["segments"]}
    assert len(colors) == 3
    for color, area in colors.items():
        assert ((pixels[..., :3] == color).all(axis=2) & (pixels[..., 3] > 0)).sum() == area


def test_colors_differ_even_where_shades_repeat():
    ids = torch.arange(1, 301).view(15, 20)
    many = Panoptic(ids, tuple(Segment(i, 0, is_thing=True) for i in range(1, 301)))
    rows = map_entry(many, CATEGORIES)["segments"]
    assert len(rows) == 255
    assert len({row[2] for row in rows}) == 255


def test_a_prediction_comes_with_pq_and_the_iou_of_each_match():
    image = torch.zeros((3, 2, 3), dtype=torch.uint8)
    truth = two_cats()
    predicted = Panoptic(
        torch.tensor([[5, 5, 0], [8, 7, 0]]),
        (Segment(5, 0, True), Segment(8, 1, False), Segment(7, 1, False)),
    )
    entry = image_entry(Sample(image, truth, "a"), predicted, CATEGORIES)
    assert [row[4] for row in entry["predicted"]["segments"]] == [1.0, 0.0, 0.0]
    assert entry["truth"]["segments"][0][4] == 1.0
    assert entry["pq"] == 0.5  # cat 1, grass 0


def test_large_photographs_are_stored_small():
    sample = Sample(
        torch.zeros((3, 600, 1000), dtype=torch.uint8),
        Panoptic(torch.ones((600, 1000), dtype=torch.int64), (Segment(1, 1, False),)),
        1,
    )
    entry = image_entry(sample, None, CATEGORIES)
    assert max(decode(entry["photo"]).size) == 384
    assert max(decode(entry["truth"]["png"]).size) <= 384
    assert (entry["height"], entry["width"]) == (600, 1000)
    assert entry["truth"]["segments"][0][1] == 600_000


class Street:
    categories: ClassVar = list(TOY_CATEGORIES)

    def __init__(self, num):
        self.street = ToyStreet(num=num, seed=3)

    def __len__(self):
        return len(self.street)

    def __getitem__(self, index):
        return self.street[index]


def test_the_page_stands_alone_and_no_name_can_break_it():
    street = Street(2)
    street.categories = [
        Category(c.id, c.name + "</script><b>", c.is_thing, c.color) for c in TOY_CATEGORIES
    ]
    page = b"".join(browse_page(street, "<mine> & yours")).decode()
    assert page.count("</script>") == 1
    assert "&lt;mine&gt; &amp; yours" in page
    assert not re.search(r"(src|href)\s*=\s*[\"']?https?:", page)
    assert "https:" not in page
    entries = re.search(r"const IMAGES = \[\n(.*)\n\];", page, re.S)[1].strip().rstrip(",")
    assert len(json.loads(f"[{entries}]")) == 2


def test_predictions_are_found_by_image_id(tmp_path):
    from pfpn.data.coco import write_coco_panoptic

    samples = [Sample(torch.zeros((3, 2, 3), dtype=torch.uint8), two_cats(), 4)]
    write_coco_panoptic(tmp_path, "val", samples, CATEGORIES)
    predictions = Predictions(tmp_path / "annotations" / "panoptic_val.json", CATEGORIES)
    assert torch.equal(predictions.get(4).id_map, two_cats().id_map)
    assert predictions.get(5) is None


@pytest.mark.slow
def test_the_page_works_in_a_browser(tmp_path, browser):
    street = Street(4)

    class Same(Predictions):
        def __init__(self):
            pass

        def get(self, image_id):
            return street[[s.image_id for s in street.street].index(image_id)].panoptic

    path = tmp_path / "page.html"
    path.write_bytes(b"".join(browse_page(street, "streets", Same())))
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    problems = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: r.url.startswith("http") and problems.append(r.url))
    page.goto(path.as_uri())
    assert page.locator("figure").count() == 4
    assert page.locator("#shown").inner_text() == "4 of 4 images"
    page.select_option("#order", "worst PQ")
    page.fill("#name", str(street[2].image_id))
    assert page.locator("figure").count() == 1
    box = page.locator(".view").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 4)
    page.wait_for_function("document.querySelector('.under').textContent.includes('IoU 1.00')")
    page.locator("summary").first.click()
    assert page.locator("#classes tbody tr").count() == len(TOY_CATEGORIES)
    assert not problems
