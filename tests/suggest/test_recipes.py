"""The calibration table: K of published recipes from their published hyperparameters."""

import pytest

from etalambda.suggest.recipes import RECIPES, power_lines_timescale
from etalambda.suggest.ruler import ruler

# name: (τ in steps, τ/T, K at the peak, K with the schedule), as tabulated independently
TABLE = {
    "ResNet, CIFAR, SGD": (2000, 0.026, 39, 17),
    "ResNet, CIFAR, AdamW": (2000, 0.026, 39, 17),
    "ResNet-50, ImageNet, SGD": (10_000, 0.022, 45, 17),
    "DeiT-S, ImageNet": (20_000, 0.053, 19, 9.4),
    "slowrun, 11 passes": (19.2, 0.0092, 109, 70),
    "Llama-2 7B": (33_300, 0.067, 15, 8.2),
    "Llama-1 7B": (33_300, 0.133, 7.5, 4.1),
    "nanochat d12": (179, 0.071, 14, 6.4),
    "Track-3 Muon": (800, 0.246, 4.1, 2.3),
    "modded-nanogpt, lr² rule": (1575, 1.05, 0.95, 0.6),
    "GPT-3 175B": (166_700, 1.78, 0.56, 0.31),
    "torch AdamW default, CIFAR": (100_000, 1.28, 0.78, 0.39),
}


def test_the_table_has_every_recipe():
    assert {recipe.name for recipe in RECIPES} == set(TABLE)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_calibration_table(recipe):
    measured = (recipe.tau, recipe.tau / recipe.steps, recipe.peak_budget, recipe.budget)
    assert measured == pytest.approx(TABLE[recipe.name], rel=0.02)


def test_power_lines_optimum():
    budgets = [1 / power_lines_timescale(tpp) for tpp in (5, 20, 100, 286)]
    assert budgets == pytest.approx([2.1, 4.5, 10, 18], rel=0.05)


def test_ruler_draws_every_recipe_and_every_run():
    axes = ruler({"mine": 0.01, "hers": 400.0, "none": 0.0})
    texts = [text.get_text() for text in axes.texts]
    assert all(any(recipe.name in text for text in texts) for recipe in RECIPES)
    assert {"mine: K = 0.01", "hers: K = 400"} <= set(texts)
    assert axes.get_title(loc="left") == "none: K = 0"
    low, high = axes.get_xlim()
    assert low < 0.01
    assert high > 400
