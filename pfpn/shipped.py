"""Files that come with pfpn beside its code: trained toy weights, notebooks, results of benchmarks.

In a clone they lie in the repository; in an installed wheel, in the package's folder `_shipped`,
where `setup.py` puts them.
"""

from pathlib import Path

INSTALLED = Path(__file__).resolve().parent / "_shipped"
TOY_WEIGHTS = "data/checkpoints/toy.safetensors"


def shipped(name: str) -> Path:
    """Return where a file or folder of the repository is, such as "data/checkpoints".

    Args:
        name: its path in the repository, with "/".

    Raises:
        ValueError: it does not come with this installation.
    """
    for root in (INSTALLED, INSTALLED.parents[1]):
        if (root / name).exists():
            return root / name
    raise ValueError(
        f"{name}: found nothing of this name in {INSTALLED.parent}, expected it to come with pfpn. "
        "Was the package installed whole?"
    )
