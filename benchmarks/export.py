"""How long does an image take by ONNX Runtime, beside PyTorch, on the same weights?

    python benchmarks/export.py              # the toy network and ResNet-50; about 3 minutes

Both compute the detections with their masks and the semantic logits of one image, on one thread,
taking turns; merging, which is the same for both, is left out. Figures are medians of one process's
own processor time. "largest difference" compares each piece of the graph with PyTorch's, on the
same input, as a fraction of the piece's largest value.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from onnxruntime import InferenceSession, SessionOptions

from pfpn import export
from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.files import write_atomically
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.shipped import TOY_WEIGHTS, shipped

RESULTS = Path(__file__).resolve().parent / "results" / "export.json"
SIZES = {"toy": (128, 192), "r50": (256, 352)}  # (height, width) of the image


def build(name: str) -> PanopticFPN:
    """Return the toy network, or a ResNet-50 of the published size with initial weights."""
    if name == "toy":
        return load_weights(shipped(TOY_WEIGHTS)).model
    torch.manual_seed(0)
    return PanopticFPN(ModelConfig()).eval()


def median_ms(run: Callable[[], object], other: Callable[[], object], repeats: int) -> list[float]:
    """Return the median processor time of both, in ms; they take turns."""
    times: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for took, job in zip(times, (run, other), strict=True):
            began = time.process_time()
            job()
            took.append(1000 * (time.process_time() - began))
    return [statistics.median(took[1:]) for took in times]  # the first turn warms up


def measure(name: str, repeats: int) -> list[dict]:
    """Export one network, with weights in float32 and in float16, and time an image."""
    model = build(name)
    image = ToyStreet(1, seed=1, size=SIZES[name])[0].image
    began = time.process_time()
    pieces = export.export_pieces(model)
    seconds = time.process_time() - began
    errors = export.check_pieces(model, pieces, image)
    outputs = [*export.DETECTIONS, "mask_probs", "semantic_logits"]
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    rows = []
    for weights in ("float32", "float16"):
        graph = export.join_graphs(pieces, ["image"], outputs)
        if weights == "float16":
            export.halve(graph)
        content = graph.SerializeToString()
        session = InferenceSession(content, options)

        def ours(session: InferenceSession = session) -> object:
            return export.infer(session, model.config, image)

        onnx_ms, torch_ms = median_ms(ours, lambda: model.infer([image]), repeats)
        rows.append(
            {
                "network": name, "weights": weights, "mb": len(content) / 1e6,
                "onnxruntime_ms": onnx_ms, "pytorch_ms": torch_ms, "ratio": onnx_ms / torch_ms,
                "largest_difference": max(errors.values()), "export_s": seconds,
            }
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(SIZES))
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for name in SIZES
        if args.only in (None, name)
        for row in measure(name, args.repeats if name == "toy" else max(3, args.repeats // 3))
    ]
    print("network  weights      MB   ONNX Runtime   PyTorch   ratio   largest difference   export")
    for row in rows:
        print(
            f"{row['network']:7}  {row['weights']}  {row['mb']:6.1f} {row['onnxruntime_ms']:11.0f} "
            f"ms {row['pytorch_ms']:6.0f} ms {row['ratio']:7.2f} {row['largest_difference']:15.1e} "
            f"{row['export_s']:13.0f} s"
        )
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    kept = [row for row in report["rows"] if row["network"] not in {r["network"] for r in rows}]
    report = {"torch": torch.__version__, "rows": [*kept, *rows]}
    write_atomically(RESULTS, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
