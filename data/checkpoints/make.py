"""Train the weights that come with the course, and compute what is stored beside them.

    python data/checkpoints/make.py            what `make weights` does; a stopped run goes on
    python data/checkpoints/make.py --steps 20 --out runs/trial    a rehearsal

The run is counted in steps, on one thread: on the same processor, with the same versions of the
libraries, it gives the same file to the last bit. `toy.json` keeps both, the scores and the
SHA-256; where a new file differs from it, this program says what else does.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from pfpn.cli.command import say
from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import Trained, load_weights, pack_weights
from pfpn.engine.config import TrainConfig, override, to_json
from pfpn.engine.evaluate import evaluate
from pfpn.engine.presets import toy
from pfpn.engine.record import RECORD
from pfpn.engine.run import has_bf16_units
from pfpn.engine.train import log_rows, train, validation_set
from pfpn.files import sha256_of, write_atomically
from pfpn.plot.landscape import evaluate_landscape, semantic_batch

HERE = Path(__file__).resolve().parent
WEIGHTS, DESCRIPTION, LANDSCAPE = "toy.safetensors", "toy.json", "toy.landscape.jsonl"
STEPS = 7000
SETTINGS = ["data.toy_train_images=8000", "threads=1"]
FACTS = ("versions", "hardware")  # of a run's record: what a repetition has to have in common


def main() -> int:
    """Train, round, score, store; 1 if the file is not the one that is described."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS, help=f"default: {STEPS}")
    parser.add_argument("--run", type=Path, default=Path("runs/weights"), help="folder of the run")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    arguments = parser.parse_args()

    settings = [*SETTINGS, f"max_steps={arguments.steps}"]
    if has_bf16_units():
        settings.append("optim.precision=bf16")
    config = override(toy(), settings)
    for row in log_rows(train(config, arguments.run, resume=True), arguments.run):
        if row["kind"] == "train" and row["step"] % 200 == 0:
            say(f"step {row['step']:,} of {config.max_steps:,}, loss {row['loss']:.2f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    return store(config, arguments.run, arguments.out)


def store(config: TrainConfig, run: Path, out: Path) -> int:
    """Write the rounded weights, their landscape and their description."""
    trained = load_weights(run)
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in trained.model.state_dict().items()
    }
    content = pack_weights(
        state, model=trained.model.config, categories=trained.categories, predict=trained.predict
    )
    write_atomically(out / WEIGHTS, content)
    rounded = load_weights(out / WEIGHTS)
    described = describe(config, run, out / WEIGHTS, rounded)
    before = read(out / DESCRIPTION)
    store_landscape(rounded, out / LANDSCAPE)
    write_atomically(out / DESCRIPTION, (json.dumps(described, indent=2) + "\n").encode())
    score = described["scores"]
    say(f"{out / WEIGHTS}: PQ {100 * score['pq']:.1f}, {len(content) / 1e6:.1f} MB")
    if before.get("sha256", described["sha256"]) == described["sha256"]:
        return 0
    say("these are not the weights that were described before; what else differs:")
    for fact in ("settings", *FACTS):
        if before.get(fact) != described[fact]:
            say(f"  {fact}: {before.get(fact)} then, {described[fact]} now")
    return 1


def describe(config: TrainConfig, run: Path, path: Path, trained: Trained) -> dict[str, Any]:
    """Return how a file came about and how well it does on streets that training never saw."""
    start = json.loads((run / RECORD).read_text(encoding="utf-8"))["starts"][0]
    result = evaluate(trained.model, validation_set(config.data), trained.predict, with_ap=True)
    return {
        "sha256": sha256_of(path),
        "scores": {key: round(float(value), 4) for key, value in result.summary().items()},
        "settings": json.loads(to_json(config)),
        **{fact: start[fact] for fact in FACTS},
    }


def store_landscape(trained: Trained, path: Path) -> None:
    """Evaluate three losses around the weights; an earlier file is replaced at the end."""
    torch.set_num_threads(1)
    street = ToyStreet(num=4, seed=7)
    batch = semantic_batch(trained.model, [street[i] for i in range(len(street))])
    fresh = path.with_suffix(".new")
    evaluate_landscape(trained.model, batch, out=fresh)
    fresh.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Return what an earlier run wrote, if one did."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
