"""The last capstone of the course: a network of the solutions' parts beside the package's own.

    python benchmarks/capstone.py [--steps 400] [--seeds 0 1 2] [--networks solutions package]

Both are trained from scratch by `train_from_scratch`, as chapter 10 does it, on one thread, with
the same seed (of the weights, the order of the streets and the sampling) and number of steps. They
are scored on the same twenty streets. The parts of the solutions are those of notebooks/solutions.
Results are stored after every run; a file that has some already is completed.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from pfpn.course.capstone_gather import gather_parts
from pfpn.course.capstone_training import evaluate, package_step, train_from_scratch
from pfpn.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "capstone.json"
NETWORKS = ("solutions", "package")
LAST = 50  # steps over whose losses the mean is taken


def run(network: str, seed: int, steps: int) -> dict[str, Any]:
    """Train one network and return its losses and scores in percent."""
    parts = gather_parts(ROOT / "notebooks" / "solutions") if network == "solutions" else {}
    step = parts.get("step", package_step)
    rows, networks = zip(*train_from_scratch(parts, step, max_steps=steps, seed=seed), strict=True)
    scores = evaluate(networks[-1])
    return {
        "network": network,
        "seed": seed,
        "pq": round(100 * scores.all, 2),
        "pq_things": round(100 * scores.things, 2),
        "pq_stuff": round(100 * scores.stuff, 2),
        "first_loss": round(rows[0].total, 4),
        "last_loss": round(mean(row.total for row in rows[-LAST:]), 4),
        "seconds": round(rows[-1].seconds, 1),
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Return the runs as chapter 10 shows them: both networks of a seed in one row."""
    lines = [
        "| seed | first loss | last 50 losses | PQ | PQ of things | PQ of stuff | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed in sorted({one["seed"] for one in runs}):
        pair = [
            one
            for name in NETWORKS
            for one in runs
            if (one["network"], one["seed"]) == (name, seed)
        ]

        def both(key: str, digits: int, pair: list[dict[str, Any]] = pair) -> str:
            return " / ".join(f"{one[key]:.{digits}f}" for one in pair)

        cells = both("first_loss", 2), both("last_loss", 2), both("pq", 1), both("pq_things", 1)
        lines.append(
            f"| {seed} | {' | '.join(cells)} | {both('pq_stuff', 1)} | {both('seconds', 0)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    protocol = {"steps": arguments.steps, "batch_size": 4, "streets": 20}
    runs: list[dict[str, Any]] = []
    if arguments.out.exists():
        stored = json.loads(arguments.out.read_text(encoding="utf-8"))
        if stored["protocol"] != protocol:
            parser.error(f"{arguments.out} holds runs of another protocol: {stored['protocol']}")
        runs = stored["runs"]
    for seed in arguments.seeds:
        for network in arguments.networks:
            if any(one["seed"] == seed and one["network"] == network for one in runs):
                continue
            runs.append(run(network, seed, arguments.steps))
            text = json.dumps({"protocol": protocol, "runs": runs}, indent=1) + "\n"
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(arguments.out, text.encode())
            print(runs[-1], flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
