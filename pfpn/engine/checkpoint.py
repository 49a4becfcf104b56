"""What a run leaves on disk: weights to use, and states to go on from.

A weights file (.safetensors) holds tensors, and in its header what they mean: the model's config,
how its answers are merged, the categories. A checkpoint (.pt) holds everything that a resumed run
needs. Neither can run code when it is read, and a file that is damaged is refused.
"""

import dataclasses
import io
import json
import random
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pfpn.engine.config import fit_to_categories, from_dict, from_json
from pfpn.files import write_atomically
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.predict import PredictConfig
from pfpn.structures import Category

LAST = "last.pt"
BEST = "best.pt"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
METRICS = "metrics.jsonl"

FORMAT = 1  # of a checkpoint; any other number is refused


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with what is needed to use it."""

    model: PanopticFPN  # in eval mode
    categories: tuple[Category, ...]
    predict: PredictConfig


def pack_weights(
    state: dict[str, Tensor],
    *,
    model: ModelConfig,
    categories: Sequence[Category],
    predict: PredictConfig | None = None,
) -> bytes:
    """Return a state dict as .safetensors, with all that `load_weights` needs in its header."""
    header = {
        "format": "pfpn",
        "model": json.dumps(dataclasses.asdict(model)),
        "predict": json.dumps(dataclasses.asdict(predict or PredictConfig())),
        "categories": json.dumps(categories_to_plain(categories)),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    return _with_sorted_header(save(tensors, metadata=header))


def _with_sorted_header(content: bytes) -> bytes:
    """Return a .safetensors file with its header in order: equal weights are then equal files.

    The library writes the header's entries in another order each time. The file is the length of
    the header (8 bytes, little endian), the header in JSON, padded with spaces, and the numbers.
    """
    size = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + size])
    text = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def save_weights(
    path: Path,
    state: dict[str, Tensor],
    *,
    model: ModelConfig,
    categories: Sequence[Category],
    predict: PredictConfig | None = None,
) -> None:
    """Write a weights file; see `pack_weights`."""
    content = pack_weights(state, model=model, categories=categories, predict=predict)
    write_atomically(path, content)


def load_weights(source: Path | str, device: torch.device | str = "cpu") -> Trained:
    """Return the model of a .safetensors file, or of a run folder that has one.

    Raises ValueError if the file is damaged, has values that are not finite, or if its tensors or
    categories are not those of its model config. Nothing is allocated before the shapes are known
    to fit.
    """
    path = weights_path(source)
    header, shapes = read_header(path)
    config = from_json(ModelConfig, header["model"], f"{path}: model")
    categories = categories_of(header, path)
    _require_categories(config, categories, path)
    _require_shapes(config, shapes, path)
    model = PanopticFPN(config)
    model.load_state_dict(read_tensors(path))
    predict = from_json(PredictConfig, header["predict"], f"{path}: predict")
    return Trained(model.eval().to(device), categories, predict)


def weights_path(source: Path | str) -> Path:
    """Return the path of a weights file; `source` is the file or the folder of a run."""
    path = Path(source)
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise ValueError(
            f"{source}: found no weights, expected a .safetensors file or a run folder with "
            f"{WEIGHTS} in it. Has the run saved yet?"
        )
    return path


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Return the header of a weights file and the shape of each tensor; no tensor is read."""
    with _opened(path) as file:
        header = file.metadata() or {}
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    missing = [key for key in ("model", "predict", "categories") if key not in header]
    if missing:
        raise ValueError(
            f"{path}: its header lacks {missing}, expected a file written by pfpn. "
            "Weights from elsewhere are converted by pfpn convert."
        )
    return header, shapes


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file; raise ValueError if a value is not finite."""
    with _opened(path) as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{path}: {key}: found values that are NaN or infinite, expected finite numbers. "
                "Did the training diverge?"
            )
    return state


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(
            f"{path}: found no readable safetensors file ({error}). Is it cut short, or a .pt file?"
        ) from None


def categories_of(header: dict[str, str], path: Path) -> tuple[Category, ...]:
    """Return the categories in the header of a weights file."""
    where = f"{path}: categories"
    try:
        plain = json.loads(header["categories"])
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: found no valid JSON ({error})") from None
    if not isinstance(plain, list):
        raise ValueError(f"{where}: found {type(plain).__name__}, expected a list")
    return categories_from_plain(plain, where)


def _require_categories(config: ModelConfig, categories: Sequence[Category], path: Path) -> None:
    fitting = fit_to_categories(config, categories)
    wrong = [
        f"{getattr(fitting, name)} by its categories and {getattr(config, name)} by its model"
        for name, is_used in (
            ("num_things", config.instance_branch),
            ("num_semantic", config.semantic_branch),
        )
        if is_used and getattr(fitting, name) != getattr(config, name)
    ]
    if wrong:
        raise ValueError(
            f"{path}: found classes that do not agree: {wrong[0]}, expected as many. Names and "
            "labels would not belong together; was the header changed?"
        )


def _require_shapes(config: ModelConfig, shapes: dict[str, tuple[int, ...]], path: Path) -> None:
    """Raise ValueError unless the tensors of a file are those of the model; allocate nothing."""
    with torch.device("meta"):  # shapes without content
        expected = {k: tuple(v.shape) for k, v in PanopticFPN(config).state_dict().items()}
    missing, surplus = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected)
    if missing or surplus:
        raise ValueError(
            f"{path}: its tensors are not those of its model config: {len(missing)} are missing "
            f"{missing[:3]}, {len(surplus)} are surplus {surplus[:3]}"
        )
    for key, shape in expected.items():
        if shapes[key] != shape:
            raise ValueError(
                f"{path}: its tensors are not those of its model config: {key} has shape "
                f"{list(shapes[key])}, expected {list(shape)}"
            )


def pack_checkpoint(state: dict[str, Any]) -> bytes:
    """Return the state of a run as a file: tensors in plain containers."""
    # Into memory: where the disk is full, torch's own writing does not say so.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    return buffer.getvalue()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a run; see `pack_checkpoint`."""
    write_atomically(path, pack_checkpoint(state))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state of a run; nothing in the file is executed.

    Raises ValueError if the file is damaged: also by one byte, for each part has a checksum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        state = None if broken else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: found no such file, expected a checkpoint") from None
    except Exception:  # whatever a broken file makes zipfile and torch raise
        # torch's own message names ways to read the file that could execute what is in it.
        raise _damaged(path, "it") from None
    if broken:
        raise _damaged(path, broken)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"{path}: found a checkpoint of format {found}, expected {FORMAT}. "
            "Was it written by another version of pfpn?"
        )
    return state


def _damaged(path: Path, part: str) -> ValueError:
    return ValueError(
        f"{path}: found no readable checkpoint ({part} is damaged). Is it cut short, or from "
        "elsewhere? Only tensors and plain containers are read"
    )


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
    """Set every global generator to a state that `rng_state` returned."""
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


def categories_from_plain(plain: Sequence[Any], where: str = "categories") -> tuple[Category, ...]:
    """Return the categories of `categories_to_plain`; `where` is named in errors."""
    try:
        return tuple(from_dict(Category, entry, where) for entry in plain)
    except TypeError:
        raise ValueError(f"{where}: found one without id, name or is_thing, expected all") from None
