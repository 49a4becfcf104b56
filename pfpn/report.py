"""A run as one page: tables and pictures in a single HTML file that needs nothing else."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfpn.data.loader import PanopticDataset
from pfpn.engine.checkpoint import Trained
from pfpn.engine.evaluate import Evaluation
from pfpn.engine.train import Row
from pfpn.files import Output
from pfpn.plot.curves import plot_curves
from pfpn.plot.panoptic import describe_panoptic, plot_comparison
from pfpn.predict import predict
from pfpn.quality import ClassQuality, GroupQuality

PAGE = "report.html"
PICTURES = ("comparison", "curves")
REPORT_FILES = (PAGE, *(f"{name}.png" for name in PICTURES))
STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --dim: #5b6570; --line: #d5dae0; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --dim: #9aa4ae; --line: #3a424b; --paper: #16191d; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.lead { color: var(--dim); margin-top: 0; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { color: var(--dim); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; }
dt { color: var(--dim); } dd { margin: 0; }
figure { margin: 1rem 0; } figure img { max-width: 100%; background: #fff; border-radius: 6px; }
figcaption { color: var(--dim); font-size: .92rem; }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; numbers arrive as the text that is shown."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with its file name, what it shows in words, and how it is introduced."""

    name: str  # without ending
    title: str
    words: str  # for those who cannot see it, and below it for all
    figure: Any  # a matplotlib Figure; this file does not need matplotlib itself


def write_report(
    output: Output,
    *,
    title: str,
    lead: str,
    facts: Mapping[str, str],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
) -> Path:
    """Write every picture as PNG and the page `report.html`, last; return the page's path."""
    output.remove(PAGE)
    parts = [f"<h1>{html.escape(title)}</h1>", f'<p class="lead">{html.escape(lead)}</p>', "<dl>"]
    parts += [
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in facts.items()
    ]
    parts.append("</dl>")
    parts += [_table(table) for table in tables]
    for picture in pictures:
        png = _png(picture.figure)
        output.write(f"{picture.name}.png", png)
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        words = html.escape(picture.words)
        parts.append(
            f"<h2>{html.escape(picture.title)}</h2>\n<figure>"
            f'<img alt="{words}" src="{source}"><figcaption>{words}</figcaption></figure>'
        )
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    output.write(PAGE, page.encode())
    return output.path(PAGE)


def report_run(
    output: Output,
    *,
    title: str,
    lead: str,
    trained: Trained,
    evaluation: Evaluation,
    rows: Sequence[Row],
    dataset: PanopticDataset,
    num_images: int = 8,
) -> Path:
    """Write the report of a trained model: scores, losses, predictions for the first images."""
    samples = [dataset[i] for i in range(min(num_images, len(dataset)))]
    predictions = predict(trained.model, [s.image for s in samples], trained.predict)
    maps = [prediction.panoptic for prediction in predictions]
    first = describe_panoptic(samples[0].panoptic, trained.categories) if samples else "nothing"
    return write_report(
        output,
        title=title,
        lead=lead,
        facts=_facts(trained, evaluation, rows),
        tables=[_groups_table(evaluation), _classes_table(evaluation)],
        pictures=[
            Picture(
                PICTURES[0],
                "Truth and prediction",
                "Each row: an image that training never saw, its true panoptic map, and the map "
                f"that the network predicts. The first one shows {first}. One color per class, one "
                "shade per instance; black is void.",
                plot_comparison(samples, maps, trained.categories),
            ),
            Picture(
                PICTURES[1],
                "Losses",
                "The six losses, their weighted sum and the learning rate over the training steps. "
                "The loss of boxes rises before it falls: at first few proposals are good enough "
                "to have one.",
                plot_curves(rows),
            ),
        ],
    )


def _facts(trained: Trained, evaluation: Evaluation, rows: Sequence[Row]) -> dict[str, str]:
    facts = {"parameters": f"{sum(p.numel() for p in trained.model.parameters()):,}"}
    steps = [row for row in rows if row["kind"] == "train"]
    if steps:
        facts["training"] = (
            f"{steps[-1]['step']:,} steps in {steps[-1]['seconds'] / 60:.1f} minutes"
        )
        speeds = sorted(row["images_per_second"] for row in steps)
        facts["speed"] = f"{speeds[len(speeds) // 2]:.1f} images/s (median)"
    facts["scored on"] = f"{evaluation.num_images} images that training never saw"
    numbers = {
        "mean IoU": evaluation.semantic.miou,
        "pixel accuracy": evaluation.semantic.pixel_accuracy,
        "box AP": evaluation.precision.get("box_ap"),
        "mask AP": evaluation.precision.get("mask_ap"),
    }
    return facts | {k: f"{100 * v:.1f} %" for k, v in numbers.items() if v is not None}


def _groups_table(evaluation: Evaluation) -> Table:
    quality = evaluation.panoptic
    groups = {"all": quality.all, "things": quality.things, "stuff": quality.stuff}
    rows = [
        [name, *_percents(group), str(group.num_classes)] for name, group in groups.items() if group
    ]
    return Table("Panoptic quality (%)", ["", "PQ", "SQ", "RQ", "classes"], rows)


def _classes_table(evaluation: Evaluation) -> Table:
    rows = [
        [entry.category.name, *_percents(entry), str(entry.tp), str(entry.fp), str(entry.fn)]
        for entry in evaluation.panoptic.per_class
        if entry.counts
    ]
    return Table("By class (%)", ["", "PQ", "SQ", "RQ", "found", "false", "missed"], rows)


def _percents(quality: GroupQuality | ClassQuality) -> list[str]:
    return [f"{100 * value:.1f}" for value in (quality.pq, quality.sq, quality.rq)]


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    lines = [row(table.header, "th"), *(row(cells, "td") for cells in table.rows)]
    return f"<h2>{html.escape(table.title)}</h2>\n<table>\n" + "\n".join(lines) + "\n</table>"


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
