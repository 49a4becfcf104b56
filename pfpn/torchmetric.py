"""Panoptic quality as a `torchmetrics.Metric`, with panopticapi's rules; needs the extra `metrics`.

The arguments are those of torchmetrics' own `PanopticQuality`, so that one line of an import is all
that changes. Its figures are others: torchmetrics knows no crowds, takes void pixels of the
prediction out of the union and does not count a true segment as missed that is mostly void in the
prediction, all of which panopticapi does not do.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from pfpn.metric import PanopticMetric
from pfpn.quality import ClassQuality, PanopticResult, summarize

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError(
        "pfpn.torchmetric needs torchmetrics: pip install 'pfpn[metrics]'. Without it, "
        "pfpn.metric.PanopticMetric computes the same."
    ) from error


class PanopticQuality(Metric):
    """Panoptic quality, in [0, 1], over all batches and all processes.

    Args:
        things: ids of the classes that are counted one by one.
        stuffs: ids of the classes that are regions.
        allow_unknown_preds_category: take other ids in predictions for void, instead of an error.
        modified_stuff: see `PanopticMetric`.
        return_sq_and_rq: PQ, SQ and RQ in the last axis, instead of PQ alone.
        return_per_class: a row for each class, things first, each by ascending ids.
        void: ids of pixels without a class in truth and prediction.
        options: of `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    sums: Tensor  # (classes, 4): TP, FP, FN, sum of IoUs

    def __init__(
        self,
        things: Collection[int],
        stuffs: Collection[int],
        allow_unknown_preds_category: bool = False,
        return_sq_and_rq: bool = False,
        return_per_class: bool = False,
        *,
        modified_stuff: bool = False,
        void: Collection[int] = (),
        **options: Any,
    ):
        super().__init__(**options)
        self._metric = PanopticMetric(things, stuffs, void=void, modified_stuff=modified_stuff)
        if allow_unknown_preds_category and not self._metric.void:
            raise ValueError(
                "allow_unknown_preds_category: found no id for pixels without a class, expected "
                "one. Try void=[255]"
            )
        self.allow_unknown_preds_category = allow_unknown_preds_category
        self.return_sq_and_rq = return_sq_and_rq
        self.return_per_class = return_per_class
        zeros = torch.zeros(len(self._metric.categories), 4, dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        crowds: Sequence[Collection[tuple[int, int]]] | None = None,
    ) -> None:
        """Add a batch (b, ..., 2) of (class, instance); see `PanopticMetric.update`."""
        if self.allow_unknown_preds_category:
            preds = self._without_unknown(torch.as_tensor(preds))
        self._metric.reset()
        self._metric.update(preds, target, crowds=crowds)
        self.sums += torch.from_numpy(self._metric.state()).to(self.sums)

    def _without_unknown(self, preds: Tensor) -> Tensor:
        """Return predictions in which every unknown class is void."""
        if preds.dtype.is_floating_point or not preds.ndim:
            return preds  # which `update` refuses in words
        preds = preds.long()  # few operations take unsigned integers, and they need not hold void
        known = torch.tensor([c.id for c in self._metric.categories], device=preds.device)
        is_known = torch.isin(preds[..., 0], known)
        void = preds.new_tensor([min(self._metric.void), 0])
        return torch.where(is_known[..., None], preds, void)

    def figures(self) -> PanopticResult:
        """Return all figures, as `PanopticMetric.compute` does."""
        rows = zip(self._metric.categories, self.sums.tolist(), strict=True)
        return summarize(
            [ClassQuality(c, int(tp), int(fp), int(fn), iou) for c, (tp, fp, fn, iou) in rows], 0
        )

    def compute(self) -> Tensor:
        """Return PQ, or what the options say; 0 where nothing was to be evaluated."""
        result = self.figures()
        entries = result.per_class if self.return_per_class else [result.all]
        figures = [[e.pq, e.sq, e.rq] if e else [0.0, 0.0, 0.0] for e in entries]
        table = torch.tensor(figures, dtype=torch.float64, device=self.sums.device)
        if not self.return_per_class:
            table = table[0]
        elif not self.return_sq_and_rq:
            return table[None, :, 0]  # a row, as torchmetrics' own
        return table if self.return_sq_and_rq else table[0]

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw one value or several, as torchmetrics' own metrics do: (figure, axes)."""
        return self._plot(val, ax)
