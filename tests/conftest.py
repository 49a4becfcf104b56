"""Fixtures that all tests can use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import config

import tests.shapes  # noqa: F401  it has to be loaded when --jaxtyping-packages names it

ROOT = Path(__file__).resolve().parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core: more threads would compete for it
    torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `long`, unless -m or the name of a test on the command line has it.

    (-m "not long" in `addopts` would be undone by any other -m.)
    """
    if "long" in config.option.markexpr.split() or any("::" in name for name in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference figures and photographs beside the repository, if it is there."""
    folder = Path(os.environ.get("PFPN_SHARED", ROOT.parent / "shared"))
    if not (folder / "oracle").is_dir():
        pytest.skip(
            "reference figures beside the repository (../shared, or PFPN_SHARED) are absent"
        )
    return folder


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch off the shape check of `make test`, for tests of the package's own errors."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")  # Playwright keeps an event loop running: no asyncio.run beside it
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by playwright; skips where none is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(names)})")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container has no user namespaces and little shared memory.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=program, args=flags)
        yield chromium
        chromium.close()
