"""What a run is doing: how fast its weights decay, how large they are, how far a step turns them.

Quantities are plain functions; a `Monitor` decides when they are taken.
"""

from etalambda.diagnose.angles import AngularUpdates, angle, predicted_angles
from etalambda.diagnose.covariance import CovarianceConstants, covariance_constants
from etalambda.diagnose.curvature import (
    Curvature,
    curvature,
    hessian_index,
    hessian_vector_product,
)
from etalambda.diagnose.decay import decay_budget, intrinsic_lr, stats
from etalambda.diagnose.equilibrium import Equilibrium, equilibrium
from etalambda.diagnose.forecast import NormForecast, forecast_norm
from etalambda.diagnose.function_space import agreement, split_half_floor, total_variation
from etalambda.diagnose.gradients import (
    Homogeneity,
    ScaleInvariance,
    gradient_noise_trace,
    homogeneity,
    scale_invariance,
)
from etalambda.diagnose.lanczos import Ritz, Spectrum, lanczos
from etalambda.diagnose.mixture import Mixture, OverlapCovariance, fit_mixture, overlap_covariance
from etalambda.diagnose.monitor import Monitor, every
from etalambda.diagnose.norms import effective_lr, weight_norms
from etalambda.diagnose.ntk import KernelModes, empirical_ntk, ntk_modes, predicted_ntk_decay
from etalambda.diagnose.panel import Panel
from etalambda.diagnose.sinks import LivePanel, tensorboard
from etalambda.diagnose.surface import direction_between, filter_normalized_direction, loss_slice
from etalambda.diagnose.trajectory import (
    AveragingGain,
    averaging_gain,
    output_drift,
    snapshot,
    weight_distances,
)

__all__ = [
    "AngularUpdates",
    "AveragingGain",
    "CovarianceConstants",
    "Curvature",
    "Equilibrium",
    "Homogeneity",
    "KernelModes",
    "LivePanel",
    "Mixture",
    "Monitor",
    "NormForecast",
    "OverlapCovariance",
    "Panel",
    "Ritz",
    "ScaleInvariance",
    "Spectrum",
    "agreement",
    "angle",
    "averaging_gain",
    "covariance_constants",
    "curvature",
    "decay_budget",
    "direction_between",
    "effective_lr",
    "empirical_ntk",
    "equilibrium",
    "every",
    "filter_normalized_direction",
    "fit_mixture",
    "forecast_norm",
    "gradient_noise_trace",
    "hessian_index",
    "hessian_vector_product",
    "homogeneity",
    "intrinsic_lr",
    "lanczos",
    "loss_slice",
    "ntk_modes",
    "output_drift",
    "overlap_covariance",
    "predicted_angles",
    "predicted_ntk_decay",
    "scale_invariance",
    "snapshot",
    "split_half_floor",
    "stats",
    "tensorboard",
    "total_variation",
    "weight_distances",
    "weight_norms",
]
EXPERIMENTAL: frozenset[str] = frozenset(
    {
        "Curvature",
        "AveragingGain",
        "CovarianceConstants",
        "KernelModes",
        "NormForecast",
        "Ritz",
        "ScaleInvariance",
        "covariance_constants",
        "Mixture",
        "OverlapCovariance",
        "fit_mixture",
        "overlap_covariance",
        "Spectrum",
        "hessian_vector_product",
    }
)
