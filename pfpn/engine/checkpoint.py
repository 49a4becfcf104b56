"""What a run leaves on disk: weights to use, and states to go on from.

A weights file (.safetensors) holds tensors, and in its header what they mean: the model's config,
how its answers are merged, the categories. A checkpoint (.pt) holds everything that a resumed run
needs. Neither can run code when it is read. Both are written under another name and then renamed,
so that a crash leaves the old file or the new one, never half of one.
"""

import dataclasses
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pfpn.engine.config import from_json
from pfpn.files import write_atomically
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.predict import PredictConfig
from pfpn.structures import Category

LAST = "last.pt"
BEST = "best.pt"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
METRICS = "metrics.jsonl"

FORMAT = 1  # of a checkpoint; a reader that does not know it refuses


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with what is needed to use it."""

    model: PanopticFPN  # in eval mode
    categories: tuple[Category, ...]
    predict: PredictConfig


def write(path: Path, content: bytes) -> None:
    """Write a file of a run, whole or not at all; say what is wrong where that cannot be done."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(path, len(content), error) from error


def unwritable(path: Path, size: int, error: OSError) -> OSError:
    """Return the error for a file of `size` bytes that could not be written."""
    room = f"room for {size / 2**20:.1f} MiB" if size else "a folder that can be written to"
    return OSError(
        f"{path}: could not be written ({error.strerror or error}), expected {room}. What is there "
        "is as it was before. Make room or choose another --out; --resume goes on"
    )


def save_weights(
    path: Path,
    state: dict[str, Tensor],
    *,
    model: ModelConfig,
    categories: Sequence[Category],
    predict: PredictConfig | None = None,
) -> None:
    """Write a state dict as .safetensors, with all that `load_weights` needs in its header."""
    header = {
        "format": "pfpn",
        "model": json.dumps(dataclasses.asdict(model)),
        "predict": json.dumps(dataclasses.asdict(predict or PredictConfig())),
        "categories": json.dumps(categories_to_plain(categories)),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    write(path, save(tensors, metadata=header))


def load_weights(source: Path | str, device: torch.device | str = "cpu") -> Trained:
    """Read a model from a .safetensors file, or from a run folder that holds one."""
    path = Path(source)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise ValueError(
            f"{source}: found no weights, expected a .safetensors file or a run folder with "
            f"{WEIGHTS} in it. Has the run saved yet?"
        )
    header, state = read_weights(path)
    config = from_json(ModelConfig, header["model"], f"{path}: model")
    model = PanopticFPN(config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{path}: its tensors are not those of its model config: {error}"
        ) from None
    return Trained(
        model.eval().to(device),
        categories_from_plain(json.loads(header["categories"])),
        from_json(PredictConfig, header["predict"], f"{path}: predict"),
    )


def read_weights(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return header and tensors of a weights file that `save_weights` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path}: found no readable safetensors file ({error}). Is it cut short, or a .pt file?"
        ) from None
    missing = [key for key in ("model", "predict", "categories") if key not in header]
    if missing:
        raise ValueError(
            f"{path}: its header lacks {missing}, expected a file written by pfpn. "
            "Weights from elsewhere are brought here by pfpn convert."
        )
    return header, state


def load_matching(model: nn.Module, source: Path | str) -> list[str]:
    """Copy the tensors of a weights file whose name and shape fit; return the names left as is."""
    path = Path(source)
    _, state = read_weights(path / WEIGHTS if path.is_dir() else path)
    own = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise ValueError(f"{source}: found no tensor that fits this model. Is it the same depth?")
    model.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a run: tensors in plain containers."""
    # Into memory first: where the disk is full, torch's own writing does not say so.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read the state of a run; nothing in the file is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file makes torch raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path}: found no readable checkpoint ({reason}). Is it cut short, or from elsewhere? "
            "Only tensors and plain containers are read."
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"{path}: found a checkpoint of format {found}, expected {FORMAT}. "
            "Was it written by another version of pfpn?"
        )
    return state


def rng_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every global generator, in plain containers."""
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(numbers).astype(np.int64)), *rest),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Put every global generator where `rng_state` found it."""
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, numbers, *rest = state["numpy"]
    np.random.set_state((kind, numbers.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def categories_to_plain(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """Return the categories as JSON can hold them."""
    return [dataclasses.asdict(category) for category in categories]


def categories_from_plain(plain: Sequence[dict[str, Any]]) -> tuple[Category, ...]:
    """Invert `categories_to_plain`."""
    return tuple(Category(**{**entry, "color": tuple(entry["color"])}) for entry in plain)
