"""How fast are the Lovász losses, and how much memory do they take, against their peers?

    python benchmarks/lovasz.py              # speed, memory, growth: about 20 minutes on 2 cores
    python benchmarks/lovasz.py --only speed --repeats 5
    python benchmarks/lovasz.py --only speed --cpu-time    # one thread: steady on a busy machine

Everything is forward and backward from the same logits, in one process, the methods taking turns
(so that a busy machine slows all alike); the figures are medians, the ratios medians of the ratios
within a turn. Peers: the authors' algorithm as the paper publishes it (below, in our words: sort,
running sums in float32, a loop over the classes), kornia and segmentation-models-pytorch where
they can be imported (`pip install pfpn[bench]`).

Two kinds of scores, because the exact loss leaves out of its sort what cannot matter: "new" scores
are those of an untrained network, "trained" ones are sure of it and right at 9 of 10 pixels.

What is not possible: less time than to read the logits and to write a gradient of their size, once
(the column "copies" counts in that unit).
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pfpn.compiled import load_loops
from pfpn.losses.lovasz import lovasz_hinge, lovasz_softmax, lovasz_softmax_from_logits

# name: (b, c, h, w), classes present; the last is the hinge, whose logits have no class axis
CASES = {
    "cityscapes": ((2, 19, 256, 512), 19),
    "coco": ((2, 133, 128, 128), 28),
    "voc": ((1, 21, 512, 512), 21),
    "binary": ((8, 2, 512, 512), 2),
    "hinge": ((8, 512, 512), 2),
}
Loss = Callable[[Tensor, Tensor], Tensor]


# The authors' algorithm --------------------------------------------------------------------------


def published_gradient(is_fg: Tensor) -> Tensor:
    """Algorithm 1 as published: running sums and differences in float32."""
    num_fg = is_fg.sum()
    intersection = num_fg - is_fg.cumsum(0)
    union = num_fg + (1 - is_fg).cumsum(0)
    jaccard = 1 - intersection / union
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return jaccard


def published_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    probs = logits.softmax(1)
    probs = probs.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    labels = labels.reshape(-1)
    losses = []
    for c in range(probs.shape[1]):
        is_fg = (labels == c).float()
        if is_fg.sum() == 0:
            continue
        errors, order = (is_fg - probs[:, c]).abs().sort(0, descending=True)
        losses.append(torch.dot(errors, published_gradient(is_fg[order])))
    return sum(losses) / len(losses)


def published_hinge(logits: Tensor, labels: Tensor) -> Tensor:
    losses = []
    for image, truth in zip(
        logits.reshape(len(logits), -1), labels.reshape(len(labels), -1), strict=True
    ):
        errors, order = (1 - image * (2 * truth.float() - 1)).sort(0, descending=True)
        losses.append(torch.dot(F.relu(errors), published_gradient(truth[order].float())))
    return sum(losses) / len(losses)


# What is compared --------------------------------------------------------------------------------


def methods(hinge: bool, peers: bool = True) -> dict[str, Loss]:
    """Name the losses; the peers only where they are installed."""
    kornia = _optional("kornia.losses") if peers else None
    smp = _optional("segmentation_models_pytorch.losses") if peers else None
    if hinge:
        found = {
            "cross-entropy": lambda x, y: F.binary_cross_entropy_with_logits(x, y.float()),
            "authors": published_hinge,
            "exact": lovasz_hinge,
            "1024 bins": lambda x, y: lovasz_hinge(x, y, bins=1024),
        }
        if kornia:
            found["kornia"] = lambda x, y: kornia.lovasz_hinge_loss(x[:, None], y)
        if smp:
            found["smp"] = smp.LovaszLoss("binary", per_image=True)
        return found
    found = {
        "cross-entropy": F.cross_entropy,
        "softmax alone": lambda x, y: (x.softmax(1) * x.detach()).sum(),
        "authors": published_softmax,
        "exact": lambda x, y: lovasz_softmax(x.softmax(1), y),
        "exact, logits": lovasz_softmax_from_logits,
        "1024 bins": lambda x, y: lovasz_softmax(x.softmax(1), y, bins=1024),
        "1024 bins, logits": lambda x, y: lovasz_softmax_from_logits(x, y, bins=1024),
    }
    if kornia:  # per image, and over all classes: not the same figure, the same work
        found["kornia"] = kornia.lovasz_softmax_loss
    if smp:
        found["smp"] = smp.LovaszLoss("multiclass")
    return found


def _optional(module: str):
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def make_case(shape: tuple[int, ...], present: int, trained: bool) -> tuple[Tensor, Tensor]:
    """Draw logits and labels; the labels come in patches of 16 x 16, as regions do."""
    rng = torch.Generator().manual_seed(0)
    b, h, w = shape[0], *shape[-2:]
    labels = torch.randint(present, (b, 1, -(-h // 16), -(-w // 16)), generator=rng)
    labels = F.interpolate(labels.float(), scale_factor=16).long()[:, 0, :h, :w].contiguous()
    logits = torch.randn(shape, generator=rng)
    if trained:
        lost = torch.rand((b, h, w), generator=rng) < 0.1
        found = labels.where(~lost, torch.randint(present, (b, h, w), generator=rng))
        logits = 2 * logits
        if len(shape) == 3:
            logits += 8.0 * found - 4
        else:
            logits.scatter_add_(1, found[:, None], torch.full((b, 1, h, w), 8.0))
    return logits, labels


def step(loss: Loss, logits: Tensor, labels: Tensor) -> None:
    logits.grad = None
    loss(logits, labels).backward()


# Measuring ---------------------------------------------------------------------------------------


clock = time.perf_counter  # or, by --cpu-time, time.process_time


def take_turns(
    losses: dict[str, Loss], logits: Tensor, labels: Tensor, repeats: int
) -> dict[str, list[float]]:
    """Return the milliseconds of each method in each turn."""
    logits = logits.requires_grad_()
    times: dict[str, list[float]] = {name: [] for name in losses}
    for turn in range(repeats + 1):
        for name, loss in losses.items():
            start = clock()
            step(loss, logits, labels)
            if turn:  # the first one warms up
                times[name].append(1e3 * (clock() - start))
    return times


def copy_time(logits: Tensor, repeats: int) -> float:
    """Milliseconds to read the logits and write as much: less is not possible for a gradient."""
    source, target, times = logits.detach(), torch.empty_like(logits), []
    for _ in range(repeats + 1):
        start = clock()
        target.copy_(source)
        times.append(1e3 * (clock() - start))
    return statistics.median(times[1:])


def ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def speed(repeats: int) -> list[dict]:
    rows = []
    for case, (shape, present) in CASES.items():
        for trained in (False, True):
            logits, labels = make_case(shape, present, trained)
            times = take_turns(methods(len(shape) == 3), logits, labels, repeats)
            floor = copy_time(logits, 5 * repeats)
            scores = "trained" if trained else "new"
            print(f"\n{case} {shape}, {present} present, {scores} scores; a copy {floor:.2f} ms")
            print(f"  {'':18}       ms   authors / it   it / cross-entropy   copies")
            for name, turns in times.items():
                row = {
                    "case": case,
                    "trained": trained,
                    "method": name,
                    "ms": statistics.median(turns),
                    "times_faster_than_authors": ratio(times["authors"], turns),
                    "times_cross_entropy": ratio(turns, times["cross-entropy"]),
                    "copies": statistics.median(turns) / floor,
                }
                rows.append(row)
                print(
                    f"  {name:18} {row['ms']:8.1f} {row['times_faster_than_authors']:14.1f} "
                    f"{row['times_cross_entropy']:20.2f} {row['copies']:8.0f}"
                )
    return rows


def peak_memory(case: str, method: str) -> float:
    """Peak of a step over what stood before, in multiples of the logits.

    In processes of its own, the least of three. Each large block goes back to the system when it is
    freed; else the peak would depend on the holes that malloc keeps and cannot always use again.
    """
    command = [sys.executable, __file__, "--one", case, method]
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # bytes; glibc's, others ignore it
    options: dict[str, Any] = {"check": True, "capture_output": True, "text": True, "env": env}
    runs = [subprocess.run(command, **options) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


def one_peak(case: str, method: str) -> float:
    shape, present = CASES[case]
    loss = methods(len(shape) == 3, peers=method in ("kornia", "smp"))[method]
    small = (shape[0], *shape[1:-2], 64, 64)  # large enough for threads
    logits, labels = make_case(small, present, True)
    step(loss, logits.requires_grad_(), labels)  # load what is loaded once
    logits, labels = make_case(shape, present, True)
    logits.requires_grad_()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far (Linux)
    before = _status("VmRSS")
    step(loss, logits, labels)
    return (_status("VmHWM") - before) / (logits.numel() * 4)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no {key}.")


def memory() -> list[dict]:
    rows = []
    for case, (shape, _) in CASES.items():
        print(f"\n{case} {shape}: peak above the logits, in multiples of them")
        for name in methods(len(shape) == 3):
            rows.append({"case": case, "method": name, "times_logits": peak_memory(case, name)})
            print(f"  {name:18} {rows[-1]['times_logits']:5.2f}")
    return rows


def growth(repeats: int) -> dict[str, dict]:
    """Time against pixels (4 classes) and against classes (65,536 pixels), trained scores."""
    every = methods(False)
    losses = {name: every[name] for name in ("authors", "exact", "1024 bins", "cross-entropy")}
    sizes = {"p": [2**k for k in range(12, 23)], "c": [2**k for k in range(1, 8)]}
    found: dict[str, dict] = {}
    for axis, values in sizes.items():
        found[axis] = {"values": values, **{name: [] for name in losses}}
        for value in values:
            shape = (1, 4, value // 64, 64) if axis == "p" else (1, value, 256, 256)
            logits, labels = make_case(shape, shape[1], True)
            times = take_turns(losses, logits, labels, repeats)
            for name, turns in times.items():
                found[axis][name].append(statistics.median(turns))
        print(f"\ngrowth with {axis}: slope of log time (upper half), misfit of n and of n log n")
        for name in losses:
            exponent, linear, log_linear = fit(values, found[axis][name])
            found[axis][name + " fit"] = {
                "exponent": exponent,
                "linear": linear,
                "n log n": log_linear,
            }
            print(f"  {name:18} {exponent:5.2f}   {100 * linear:5.1f}%  {100 * log_linear:5.1f}%")
    return found


def fit(values: list[int], times: list[float]) -> tuple[float, float, float]:
    """Return the log-log slope and the relative misfits of a + b n and of a + b n log n."""
    n, t = np.array(values, float), np.array(times)
    half = len(n) // 2
    exponent = np.polyfit(np.log(n[half:]), np.log(t[half:]), 1)[0]
    misfits = []
    for x in (n, n * np.log(n)):
        design = np.stack([np.ones_like(x), x], 1) / t[:, None]  # relative errors, least squares
        answer = np.linalg.lstsq(design, np.ones_like(t), rcond=None)[0]
        misfits.append(float(np.sqrt(np.mean((design @ answer - 1) ** 2))))
    return float(exponent), *misfits


def plot_growth(found: dict[str, dict], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    labels = {"p": "pixels (4 classes)", "c": "classes (65,536 pixels)"}
    for axes, (axis, data) in zip(figure.subplots(1, 2, sharey=True), found.items(), strict=True):
        for name in ("authors", "exact", "1024 bins", "cross-entropy"):
            slope = data[name + " fit"]["exponent"]
            axes.loglog(
                data["values"], data[name], marker="o", ms=3, label=f"{name}: n^{slope:.2f}"
            )
        axes.set(xlabel=labels[axis], ylabel="forward + backward (ms)")
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    global clock
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", choices=["speed", "memory", "growth"])
    parser.add_argument("--cpu-time", action="store_true", help="of one thread, not wall time")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "METHOD"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(one_peak(*args.one))
        return
    if args.cpu_time:
        clock = time.process_time
        torch.set_num_threads(1)
    report: dict = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "clock": clock.__name__,
        "load": os.getloadavg(),
    }
    print(report)
    load_loops()  # the package would, after some hundred losses of one process
    if args.only in (None, "speed"):
        report["speed"] = speed(args.repeats)
    if args.only in (None, "memory"):
        report["memory"] = memory()
    if args.only in (None, "growth"):
        report["growth"] = growth(args.repeats)
        plot_growth(report["growth"], args.out / "lovasz_growth.png")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"lovasz_{args.only or 'all'}_{clock.__name__}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=1) + "\n")
    temporary.rename(path)


if __name__ == "__main__":
    main()
