"""Values go to JSON and back; what is no value does not come back as one."""

import json
import math

import numpy as np
import pytest
import torch

from pfpn.course.encode import Other, decode, encode
from pfpn.course.values import differ


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -0.1,
        math.inf,
        "text",
        [1, [2.5, None]],
        (1, "a", ()),
        {1, 2},
        {(0, 1): 0.5, "a": [1]},
        torch.tensor([[0.1, -2.0]]),
        torch.tensor([[True, False]]),
        torch.zeros(0, 4, dtype=torch.int64),
        torch.tensor(3.0),
        [torch.ones(2), (torch.tensor([1]),)],
    ],
    ids=str,
)
def test_a_value_comes_back(value):
    back = decode(json.loads(json.dumps(encode(value))))
    assert type(back) is type(value)
    assert differ(value, back, 0.0) == ""


def test_values_of_numpy_become_plain_ones():
    assert decode(encode(np.float32(0.5))) == 0.5
    assert torch.equal(decode(encode(np.array([1.0, 2]))), torch.tensor([1.0, 2]).double())
    assert decode(encode(range(3))) == [0, 1, 2]


def test_nan_comes_back():
    assert math.isnan(decode(encode(math.nan)))
    assert decode(encode(torch.tensor([math.nan]))).isnan().all()


class Liar:
    def __eq__(self, other):
        return True

    __hash__ = None


def test_an_object_that_equals_everything_comes_back_as_no_value():
    back = decode(encode(Liar()))
    assert isinstance(back, Other)
    assert differ(1.0, back, 1e-5) == "Expected a number, found Other an object of type Liar."


def test_a_list_within_itself_ends():
    value = []
    value.append(value)
    json.dumps(encode(value))


@pytest.mark.parametrize(
    "value",
    [{"call": "os.system"}, {"tensor": [1], "shape": [1], "dtype": "load"}, {"float": "1e9"}, {}],
)
def test_other_json_is_refused(value):
    with pytest.raises(ValueError, match="expected an encoded value"):
        decode(value)
