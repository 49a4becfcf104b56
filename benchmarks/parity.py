"""How far is our model from detectron2's, stage by stage, on equal weights?

Prints the worst deviation of every stage beside the one that is allowed. The figures of one
synthetic image lie in tests/; those of two photographs are used where ../shared (or PFPN_SHARED)
has them.

    python benchmarks/parity.py
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.oracles.detectron2_figures import (  # noqa: E402
    SHORTEST_EDGE,
    build_reference_model,
    compare_inference,
    compare_training,
    table,
)


def main() -> int:
    shared = Path(os.environ.get("PFPN_SHARED", ROOT.parent / "shared"))
    model = build_reference_model()
    fine = True
    for case in SHORTEST_EDGE:
        folder = shared / "oracle" / "detectron2"
        if case != "s192" and not (folder / f"infer_{case}.npz").is_file():
            print(f"{case}: its figures are not in {shared}, left out")
            continue
        results = {f"inference {case}": compare_inference(case, model, shared)}
        if case != "b256":  # without training figures
            results[f"training {case}"] = compare_training(case, model, shared)
        for title, deviations in results.items():
            print(table(title, deviations))
            fine &= all(deviation.is_fine for deviation in deviations.values())
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
