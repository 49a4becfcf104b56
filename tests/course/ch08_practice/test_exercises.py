"""References of chapter 08 against the package."""

import torch
from torch.testing import assert_close

from pfpn.course import find
from pfpn.losses import lovasz_softmax
from pfpn.losses.lovasz import binned_gradient


def test_the_weights_of_a_bin_are_those_of_the_package():
    fg, bg = torch.tensor([2.0, 3.0, 1.0]), torch.tensor([1.0, 4.0, 2.0])
    of_fg, of_bg = binned_gradient(fg, bg)
    own = find("08.bin_weights").reference(3, 4, 4, 7)  # left 6 - 2, union 6 + 1
    assert_close(torch.tensor(own).double(), torch.stack([of_fg[1], of_bg[1]]).double())


def test_the_loss_of_a_constant_is_that_of_the_package():
    for p, num_fg, num_bg in ((0.3, 2, 8), (0.7, 2, 8), (0.9, 6, 2), (0.4, 0, 5)):
        labels = (torch.arange(num_fg + num_bg) < num_fg).long().view(1, 1, -1)
        probs = torch.tensor([1 - p, p]).view(1, 2, 1, 1).expand(1, 2, 1, num_fg + num_bg)
        expected = lovasz_softmax(probs, labels, classes=[1])
        assert_close(find("08.constant_loss").reference(p, num_fg, num_bg), expected.item())
