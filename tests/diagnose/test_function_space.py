"""Total variation against its definition, its bias, and what it must tell apart."""

import pytest
import torch

from etalambda.diagnose import agreement, split_half_floor, total_variation


def draws(probabilities, trials, inputs, seed):
    generator = torch.Generator().manual_seed(seed)
    p = torch.tensor(probabilities).expand(inputs, -1)
    return torch.multinomial(p, trials, replacement=True, generator=generator).T


def test_equals_its_definition():
    a, b = draws([0.2, 0.3, 0.5], 40, 7, 1), draws([0.5, 0.25, 0.25], 30, 7, 2)
    by_hand = 0.0
    for x in range(7):
        for c in range(3):
            by_hand += abs((a[:, x] == c).double().mean() - (b[:, x] == c).double().mean()) / 2
    assert total_variation(a, b, 3) == pytest.approx(float(by_hand) / 7, rel=1e-13)


def test_limits():
    zeros, ones = torch.zeros(5, 4, dtype=torch.long), torch.ones(3, 4, dtype=torch.long)
    assert total_variation(zeros, zeros, 2) == 0
    assert total_variation(zeros, ones, 2) == 1


def test_bias_falls_as_one_over_the_root_of_the_trials():
    sizes = [25, 100, 400, 1600]
    p = [0.1] * 10
    tv = [total_variation(draws(p, n, 300, 3), draws(p, n, 300, 4), 10) for n in sizes]
    x, y = torch.tensor(sizes).double().log(), torch.tensor(tv).double().log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert slope == pytest.approx(-0.5, abs=0.05)


def test_the_floor_is_what_equal_sides_show_and_a_difference_exceeds_it():
    p = [0.7, 0.2, 0.1]
    a, b, c = draws(p, 200, 100, 5), draws(p, 200, 100, 6), draws([0.2, 0.7, 0.1], 200, 100, 7)
    floor = split_half_floor(torch.cat([a, b]), 3)  # halves of 400 are as large as a and b
    assert total_variation(a, b, 3) == pytest.approx(floor, rel=0.2)
    assert total_variation(a, c, 3) > 5 * floor


def test_bad_input_is_named():
    good = torch.zeros(4, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="take argmax"):
        total_variation(torch.rand(4, 3), good, 2)
    with pytest.raises(ValueError, match=r"\(trials, inputs\)"):
        total_variation(good[0], good, 2)
    with pytest.raises(ValueError, match="n_classes is 2"):
        total_variation(good + 2, good, 2)
    with pytest.raises(ValueError, match="same inputs, got 3 and 2"):
        total_variation(good, good[:, :2], 2)
    with pytest.raises(ValueError, match="at least 2 trials"):
        split_half_floor(good[:1], 2)
    with pytest.raises(ValueError, match="shapes must agree"):
        agreement(good[0], good)
