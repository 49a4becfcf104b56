"""The optimizers of the pages take the steps of torch.optim."""

import pytest
import torch

from pfpn.plot.surface import TRUTHS, loss_at

OPTIMIZERS = {
    "descent": lambda point, rate: torch.optim.SGD([point], lr=rate),
    "momentum": lambda point, rate: torch.optim.SGD([point], lr=rate, momentum=0.9),
    "adam": lambda point, rate: torch.optim.Adam([point], lr=rate),
}
STEPS = 12


def torch_path(loss, truth, start, name, rate):
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = OPTIMIZERS[name](point, rate)
    points = [point.tolist()]
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_at(loss, point, truth).backward()
        optimizer.step()
        points.append(point.tolist())
    return points


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_path_is_that_of_torch(javascript, name):
    rng = torch.Generator().manual_seed(0)
    cases = []
    for loss in ("cross_entropy", "soft_jaccard", "dice"):  # smooth: no kink to fall to either side
        for truth in TRUTHS[1:]:
            for rate in (0.1, 0.5, 2.0):
                starts = 3 * torch.randn(8, 2, generator=rng, dtype=torch.float64)
                cases += [
                    [loss, list(truth), start, name, rate, STEPS] for start in starts.tolist()
                ]
    assert len(cases) >= 200
    paths = javascript("../tests/web/descend.mjs", "descend", cases)
    for path, (loss, truth, start, _, rate, _) in zip(paths, cases, strict=True):
        for mine, theirs in zip(path, torch_path(loss, truth, start, name, rate), strict=True):
            assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9)
