"""What a run reports: rows of numbers, averaged over steps, and the files that keep them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pfpn.engine.checkpoint import METRICS
from pfpn.files import Output, naming

Row = dict[str, Any]

EVENTS = "events.out.tfevents.*"  # TensorBoard's names


class Meter:
    """Averages the numbers of the steps since the last row."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.images = 0
        self.seconds = 0.0

    def add(self, row: Row, images: int, seconds: float) -> None:
        """Add one step."""
        self.rows.append(row)
        self.images += images
        self.seconds += seconds

    def flush(self) -> Row:
        """Return the means of the finite numbers, and begin anew.

        A step that fp16 skipped has no finite gradient norm; it does not count.
        """
        means = {}
        for key in self.rows[0]:
            values = [row[key] for row in self.rows if math.isfinite(row[key])]
            if values:
                means[key] = sum(values) / len(values)
        speed = self.images / self.seconds
        self.__init__()  # type: ignore[misc]
        return means | {"images_per_second": speed}


def log_rows(rows: Iterator[Row], out: Path | str, *, events: bool = True) -> Iterator[Row]:
    """Yield the rows, and store each in metrics.jsonl and, with `events`, for TensorBoard.

    Rows that an earlier start wrote after its last checkpoint are dropped when the run is resumed,
    because they come again. Numbers that are not finite are left out, for JSON has none.
    """
    out = Path(out)
    path = out / METRICS
    writer = None
    try:
        for row in rows:
            if row["kind"] == "start":
                _keep_rows(out, row)
                if events:
                    from torch.utils.tensorboard import SummaryWriter

                    before = set(out.glob(EVENTS))
                    writer = SummaryWriter(str(out), purge_step=row["step"] + 1)
                    output = Output(out, "train")
                    for new in set(out.glob(EVENTS)) - before:
                        output.adopt(new.name, grows=True)  # a thread is writing to it
            elif row["kind"] in ("train", "eval"):
                finite = {key: value for key, value in row.items() if _is_json(value)}
                with naming(path), path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(finite, allow_nan=False) + "\n")
                if writer:
                    for key, value in finite.items():
                        if isinstance(value, int | float) and key != "step":
                            writer.add_scalar(f"{row['kind']}/{key}", value, row["step"])
            yield row
    finally:
        if writer:
            writer.close()


def _keep_rows(out: Path, start: Row) -> None:
    """Write metrics.jsonl anew with the rows of the steps that a start does not repeat."""
    last = {"train": start["step"], "eval": start.get("evaluated", start["step"])}
    kept = [
        row
        for row in read_rows(out)
        if row["step"] <= last.get(str(row.get("kind")), start["step"])
    ]
    output = Output(out, "train")
    output.own(METRICS)
    text = "".join(json.dumps(row) + "\n" for row in kept)
    output.write(METRICS, text.encode())


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def read_rows(path: Path | str) -> list[Row]:
    """Return the rows of metrics.jsonl, of a file or of a run folder; no file has none.

    A last line that a crash cut short is left out.
    """
    path = Path(path)
    if path.is_dir():
        path = path / METRICS
    if not path.exists():
        return []
    rows = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is no JSON ({error})") from None
            continue
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            raise ValueError(f"{path}: line {number} is no row of a step, such as train writes")
        rows.append(row)
    return rows
