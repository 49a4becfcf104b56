"""Run-length codes and polygons of COCO files."""

import warnings

import numpy as np
import pytest

from pfpn.data.formats.coco_instances import decode_counts, decode_rle
from pfpn.data.formats.regions import polygon_mask


def test_compressed_codes_are_read_as_pycocotools_writes_them():
    coco_mask = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(0)
    for number in range(200):
        mask = generator.random(generator.integers(1, 40, 2)) < generator.random()
        if number % 3 == 0:
            mask = np.kron(mask, np.ones((7, 9))) > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        plain = {"size": list(mask.shape), "counts": code["counts"].decode()}
        assert np.array_equal(decode_rle(plain, mask.shape), mask)
        runs = {"counts": decode_counts(plain["counts"])}
        assert np.array_equal(decode_rle(runs, mask.shape), mask)


@pytest.mark.parametrize(
    "counts", ["", "x", "P", "é", "\x01", "PPPPPPPPPPPPPPP0", "0000", "2", " 1"]
)
def test_a_broken_compressed_code_is_refused(counts):
    with pytest.raises(ValueError, match=r"found (counts|a run-length code)"):
        decode_rle({"counts": counts}, (2, 3))


@pytest.mark.parametrize("corner", [None, [1], float("nan"), float("inf"), 1e9, -1e300, 10**400])
def test_a_corner_that_is_no_pixel_is_refused(corner):
    with pytest.raises(ValueError, match="found a corner"):
        polygon_mask([[0, 0, corner, 0, 5, 5]], (8, 8))
