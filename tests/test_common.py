"""The hall: one form of error for every room."""

import math

import pytest
import torch

from etalambda._common import as_optimizers, check_nonnegative, check_positive, need, unknown


def sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)


def test_one_or_several_optimizers():
    a, b = sgd(), sgd()
    assert as_optimizers(a) == [a]
    assert as_optimizers(o for o in (a, b)) == [a, b]


def test_what_is_no_optimizer_is_named():
    a = sgd()
    with pytest.raises(ValueError, match="optimizers is empty"):
        as_optimizers([])
    with pytest.raises(ValueError, match="same optimizer twice"):
        as_optimizers([a, a])
    with pytest.raises(TypeError, match="got Linear; pass the optimizer itself"):
        as_optimizers(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="got Parameter"):
        as_optimizers(a.param_groups[0]["params"])


def test_unknown_names_the_nearest_and_all():
    assert "did you mean 'cosine'? Known: linear, cosine" in str(
        unknown("schedule", "cosin", ["linear", "cosine"])
    )
    assert "did you mean" not in str(unknown("schedule", "xyz", ["linear", "cosine"]))


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_checks_name_argument_and_value(bad):
    with pytest.raises(ValueError, match=f"lr must be .* got {bad}"):
        check_nonnegative(weight_decay=0.0, lr=bad)
    with pytest.raises(ValueError, match=f"period must be .* got {bad}"):
        check_positive(period=bad)
    with pytest.raises(ValueError, match="above 0, got 0"):
        check_positive(period=0)


def test_need_names_the_extra():
    assert need("math", "lab") is math
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'etalambda\[ray\]'"):
        need("no_such_module_at_all", "ray")
