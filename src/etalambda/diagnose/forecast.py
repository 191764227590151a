"""Where the norm is heading and how long it will take, from what one moment of training shows.

Li, Lyu & Arora 2020, Lemma 5.2 and footnote 3. Decay takes the share 2r of G = ‖W‖² a step and the
updates add growth q = ‖u‖² to it. Two laws, by what sets the size of an update:

    size ∝ 1/‖W‖, the gradients of scale-invariant weights under SGD: G² relaxes at the rate 4r,
        G∞² = q G/(2r)                                                                     (12)
    a fixed size, as Adam's or a sign's: G relaxes at the rate 2r to G∞ = q/(2r)

    paper   λ_e     η²‖g‖², with momentum ‖η g/(1 - β)‖²     G∞^(1/2)   T
    code    rate    growth                                   norm       steps

Departures from the paper: it has the first law only. Both need updates at right angles to the
weights; where the gradient has a radial part (no normalization), there is no such forecast.
"""

import math
from typing import NamedTuple

from etalambda._common import check_nonnegative, check_positive


class NormForecast(NamedTuple):
    """The equilibrium norm, the steps until ‖W‖² is near it, and ρ = q/(2rG), 1 at equilibrium.

    Example:
        >>> forecast_norm(2.0, growth=0.008, rate=1e-3).balance  # 1: in equilibrium
        1.0
    """

    norm: float
    steps: float
    balance: float


def forecast_norm(
    norm: float,
    growth: float,
    rate: float,
    *,
    scale_invariant: bool = True,
    tolerance: float = 0.05,
) -> NormForecast:
    """The norm that weights are heading for under the present lr and λ, and the time left to it.

    Args:
        norm: ‖W‖ now.
        growth: What updates add to ‖W‖² a step: ‖η g/(1 - μ)‖² for SGD; from a `Panel` every k
            steps, k well above 1/(1 - β), ``update**2 * (1 - alignment**2) / k``.
        rate: r, of `intrinsic_lr`.
        scale_invariant: Whether the update's size goes as 1/‖W‖ (SGD on normalized layers); False
            for updates of a fixed size, as Adam's are.
        tolerance: How near is near, relative: of γ ∝ ‖W‖⁴ if ``scale_invariant``, else of ‖W‖².

    Returns:
        Infinite norm and steps without decay; ``steps`` is 0 inside the tolerance.

    Raises:
        ValueError: If ``norm`` is not above 0, or another number is negative or not finite.

    Example:
        >>> forecast_norm(2.0, growth=0.008, rate=1e-3)
        NormForecast(norm=2.0, steps=0.0, balance=1.0)
        >>> [round(forecast_norm(2.0, 0.016, 1e-3, scale_invariant=s).steps) for s in (True, False)]
        [576, 1151]
    """
    check_positive(norm=norm, tolerance=tolerance)
    check_nonnegative(growth=growth, rate=rate)
    square = norm**2
    if rate == 0:
        return NormForecast(math.inf, math.inf, math.inf)
    balance = growth / (2 * rate * square)
    if balance == 0:
        return NormForecast(0.0, math.inf, 0.0)
    power, settled = (2, balance**0.5) if scale_invariant else (1, balance)
    # In units of the limit: x = (G/G∞)^power relaxes to 1 as exp(-2 · power · r · t).
    distance = abs(settled**-power - 1)
    steps = math.log(distance / tolerance) / (2 * power * rate) if distance > tolerance else 0.0
    return NormForecast(norm * settled**0.5, steps, balance)
