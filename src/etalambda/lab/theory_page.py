"""The page of ``etalambda theory``: closed forms that follow sliders, in one offline file.

Every curve is computed here, for every position of the sliders; the page only picks. The formulas
are those of the theory room, each panel names its module and its paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from etalambda.lab.figures.style import OKABE_ITO
from etalambda.lab.report.html import Section, chart, paragraph, to_json
from etalambda.lab.report.page import make_page, write_page

# Positions of all sliders of a panel make one index into its curves; the last slider runs fastest.
SLIDERS = """
window.addEventListener('load',()=>{
document.querySelectorAll('script[data-sliders]').forEach(block=>{
 const spec=JSON.parse(block.textContent),box=document.getElementById(block.dataset.sliders);
 const inputs=[...block.parentNode.querySelectorAll('input[type=range]')];
 function draw(){
  let at=0;
  inputs.forEach((input,i)=>{
   at=at*spec.texts[i].length+Number(input.value);
   input.parentNode.querySelector('output').textContent=spec.texts[i][input.value]});
  const curves=spec.curves[at];
  Plotly.restyle(box,{x:curves.map(c=>c[0]===null?spec.x:c[0]),y:curves.map(c=>c[1])})}
 inputs.forEach(input=>input.addEventListener('input',draw));
 draw()})});
"""
LOOK = """
.sliders{display:flex;flex-wrap:wrap;gap:6px 26px;margin:10px 0 0}
.sliders label{display:grid;grid-template-columns:auto 6.5em;gap:0 10px;font-size:.92rem}
.sliders input{grid-column:1/3;width:15em}
.sliders output{font-variant-numeric:tabular-nums;text-align:right}
.note{overflow-wrap:anywhere}
"""
Curve = tuple[Any, Any]  # x, or None for the panel's own, and y


@dataclass(frozen=True)
class Slider:
    """One parameter: its label, its values, where it starts and how they are written."""

    label: str
    values: Sequence[float]
    start: int
    form: str = "{:.3g}"

    def texts(self) -> list[str]:
        """Each value as the page shows it."""
        return [self.form.format(value) for value in self.values]


@dataclass(frozen=True)
class Panel:
    """A chart whose curves are a function of its sliders."""

    name: str
    title: str
    text: str
    source: str
    sliders: tuple[Slider, ...]
    x: np.ndarray
    curves: Callable[..., list[Curve]]
    traces: list[dict[str, Any]]
    layout: dict[str, Any]

    def section(self) -> Section:
        """The panel as a part of the page, with the curves of every position."""
        grid = product(*(slider.values for slider in self.sliders))
        spec = {
            "texts": [slider.texts() for slider in self.sliders],
            "x": self.x,
            "curves": [[(x, _short(y)) for x, y in self.curves(*values)] for values in grid],
        }
        drawn = [{"x": [], "y": [], "mode": "lines", **trace} for trace in self.traces]
        above = dict(orientation="h", y=1.02, yanchor="bottom")  # grows upwards on narrow screens
        look = dict(margin=dict(t=10, r=10), legend=above) | self.layout
        body = (
            paragraph(self.text)
            + f'<div class="sliders">{"".join(map(_control, self.sliders))}</div>'
            + chart(self.name, drawn, look, height=400)
            + f'<script type="application/json" data-sliders="{escape(self.name)}">'
            + f"{to_json(spec)}</script>"
            + paragraph(self.source, "note")
        )
        return Section(f"part-{self.name}", self.title, body)


def _short(values: Any) -> list[float]:
    """Four digits are more than a screen shows, and halve the page."""
    return [float(f"{value:.4g}") for value in np.asarray(values)]


def _control(slider: Slider) -> str:
    last = len(slider.values) - 1
    return (
        f"<label><span>{escape(slider.label)}</span><output></output>"
        f'<input type="range" min="0" max="{last}" value="{slider.start}"></label>'
    )


def build(
    path: str | Path = "theory.html", track: Callable[[list[Panel]], Iterable[Panel]] = iter
) -> Path:
    """Write the page and return its path. It takes a few seconds and needs no network.

    Args:
        path: The file to write; its folder is made.
        track: Hands the panels on one by one, as a progress bar does.

    Raises:
        ModuleNotFoundError: Without plotly; the message names the ``lab`` extra.
        OSError: If the file cannot be written.
    """
    panels = [norm_panel(), mode_panel(), saddle_panel(), spectrum_panel()]
    sections = [panel.section() for panel in track(panels)]
    # The look and the script of the sliders ride on the first section: the page's own are fixed.
    extra = f"<style>{LOOK}</style><script>{SLIDERS}</script>"
    sections[0] = Section(sections[0].name, sections[0].title, extra + sections[0].body)
    lead = "Closed forms of weight decay and of random landscapes. Move a slider: curves follow."
    return write_page(Path(path), make_page("What the theory says", lead, sections))


def norm_panel() -> Panel:
    """γ(t): the effective learning rate of scale-invariant weights, with and without an lr drop."""
    from etalambda.theory import norm_dynamics, norm_dynamics_sde

    drop, noise = 1e4, 1.0
    t = np.logspace(0, 7, 141)

    def curves(lr: float, weight_decay: float, norm: float) -> list[Curve]:
        rate, start = lr * weight_decay, (norm**2 / lr) ** 2
        kept = norm_dynamics.gamma(t, start, rate, noise).numpy() ** -0.5
        before = t[t < drop]
        late = t[t >= drop] - drop
        at_drop = norm_dynamics_sde.phased_gamma(
            [drop, 0.0], [lr, lr / 10], weight_decay, noise, start
        )
        after = norm_dynamics.gamma(late, at_drop[1], rate / 10, noise).numpy() ** -0.5
        dropped = np.concatenate([kept[: len(before)], after])
        end = float(norm_dynamics.stationary_effective_lr(rate, noise))
        return [(None, kept), (None, dropped), ([t[0], t[-1]], [end, end])]

    return Panel(
        name="norm",
        title="The norm finds its own learning rate",
        text="Weights under normalization only turn, by lr/‖w‖² a step. Noise makes them grow, "
        "decay makes them shrink, and after about 1/(lr · weight_decay) steps the two balance at "
        "√(2 lr · weight_decay) whatever the start. A drop of the lr by 10 cuts the effective "
        "learning rate by 10 at once and by √10 in the end.",
        source="etalambda.theory.norm_dynamics: Li, Lyu & Arora 2020, eq. (12) and Lemma 5.2 as "
        "corrected there; gradient noise 1 at unit norm.",
        sliders=(
            Slider("lr", tuple(np.logspace(-3, 0, 7)), 4),
            Slider("weight_decay", tuple(np.logspace(-5, -1, 9)), 4),
            Slider("‖w‖ at the start", (0.3, 1.0, 3.0, 10.0, 30.0), 3),
        ),
        x=t,
        curves=curves,
        traces=[
            dict(name="constant lr", line=dict(color=OKABE_ITO[0], width=2.5)),
            dict(name="lr / 10 from step 10⁴", line=dict(color=OKABE_ITO[1], width=2.5)),
            dict(name="equilibrium", line=dict(color="#616e7c", dash="dot", width=1.5)),
        ],
        layout=dict(
            xaxis=dict(type="log", dtick=1, title=dict(text="step"), exponentformat="power"),
            yaxis=dict(
                type="log",
                dtick=1,
                title=dict(text="effective learning rate"),
                range=[-6, 1.5],
                exponentformat="power",
            ),
        ),
    )  # fmt: skip


def mode_panel() -> Panel:
    """f(t) of kernel modes of an infinitely wide network under L2."""
    from etalambda.theory import wide

    t = np.logspace(-2, 5, 141)
    gammas = (10.0, 1.0, 0.1, 0.01)

    def curves(degree: float, weight_decay: float) -> list[Curve]:
        f = wide.mode(t[:, None], degree, list(gammas), weight_decay, 1.0, 0.0).numpy()
        return [(None, f[:, i]) for i in range(len(gammas))]

    return Panel(
        name="modes",
        title="A wide network learns, and under L2 forgets",
        text="Each curve is one direction of the kernel, with the target 1. A linear model "
        "(degree 1) settles at the ridge solution γ/(γ + λ). From degree 2 on, L2 makes the "
        "kernel itself decay: what is learned by t = 1/γ is lost again by t of about 1/λ, up to a "
        "logarithm. Below degree 1 the kernel grows.",
        source="etalambda.theory.wide: Lewkowycz & Gur-Ari 2020, eq. (3), in its stable form; t is "
        "lr · steps, the loss is summed over the samples.",
        sliders=(
            Slider("degree of homogeneity k", (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), 4),
            Slider("weight_decay λ", (0.0, *np.logspace(-4, 0, 13)), 5),
        ),
        x=t,
        curves=curves,
        traces=[
            dict(name=f"γ = {gamma:g}", line=dict(color=colour, width=2.5))
            for gamma, colour in zip(gammas, OKABE_ITO)
        ],
        layout=dict(
            xaxis=dict(type="log", dtick=1, title=dict(text="time t"), exponentformat="power"),
            yaxis=dict(title=dict(text="output f, target 1"), range=[-0.03, 1.05]),
        ),
    )


def saddle_panel() -> Panel:
    """Index and complexity of the p-spin glass on the sphere against energy."""
    from etalambda.theory.gaussian_field import GaussianField

    share = np.linspace(-1.25, 0.0, 126)

    def curves(p: float, energy: float) -> list[Curve]:
        field = GaussianField.p_spin(int(p))
        edge = abs(field.critical_energy)
        index = field.index_at_energy(share * edge).numpy()
        count = field.total_complexity(share * edge).numpy()
        return [(None, index), (None, count), ([energy], field.index_at_energy([energy * edge]))]

    return Panel(
        name="saddles",
        title="Low saddles have few ways down",
        text="A p-spin glass on the sphere is a random landscape with known answers. Below the "
        "threshold energy its critical points are minima; above, the share of downhill directions "
        "grows with the energy. The second curve is the log-density of critical points; where it "
        "is below 0 there are none.",
        source="etalambda.theory.gaussian_field: Richemond & Guo 2019, eqs. (9) to (11), in the "
        "geometry of the sphere. Energies in units of the threshold's |ε_c|.",
        sliders=(
            Slider("p", (3.0, 4.0, 5.0, 6.0, 8.0, 12.0), 0, "{:.0f}"),
            Slider("energy ε/|ε_c|", tuple(np.linspace(-1.2, 0.0, 25)), 17, "{:.2f}"),
        ),
        x=share,
        curves=curves,
        traces=[
            dict(name="share of downhill directions", line=dict(color=OKABE_ITO[0], width=2.5)),
            dict(name="complexity Σ(ε)", line=dict(color=OKABE_ITO[1], width=2.5)),
            dict(name="at ε", mode="markers", marker=dict(size=12, color=OKABE_ITO[0])),
        ],
        layout=dict(
            xaxis=dict(title=dict(text="energy in units of |ε_c|"), range=[-1.25, 0.03]),
            yaxis=dict(title=dict(text="share, and Σ"), range=[-0.4, 1.3]),
        ),
    )


def spectrum_panel() -> Panel:
    """Hessian spectrum of a flat Gaussian field at an energy, under L2."""
    from etalambda.theory.gaussian_field import GaussianField

    field = GaussianField.rational_quadratic()
    scale = float(np.sqrt(field.f2))
    x = np.linspace(-4.5, 8.5, 157) * scale  # 0 is one of them, at 54

    def curves(energy: float, weight_decay: float) -> list[Curve]:
        centre = field.mean_eigenvalue(energy * abs(field.critical_energy))
        density = field.hessian_density(x, centre + weight_decay * scale).numpy() * scale
        return [(None, density), (x[x <= 1e-9 * scale] / scale, density[x <= 1e-9 * scale])]

    return Panel(
        name="spectrum",
        title="How much L2 removes the ways down",
        text="The curvatures at a critical point of a flat random field form a semicircle that "
        "moves right as the energy falls. L2 adds weight_decay to every curvature. The shaded part "
        "below 0 is the share of downhill directions: the decay that just removes it falls in a "
        "straight line with the energy.",
        source="etalambda.theory.gaussian_field.GaussianField.hessian_density and convexifying_l2: "
        "Richemond & Guo 2019, for a rational quadratic field; weight_decay is torch's.",
        sliders=(
            Slider("energy ε/|ε_c|", tuple(np.linspace(-1.0, 1.0, 21)), 10, "{:.2f}"),
            Slider("weight_decay / √f″", tuple(np.linspace(0.0, 4.0, 21)), 0, "{:.2f}"),
        ),
        x=x / scale,
        curves=curves,
        traces=[
            dict(name="curvatures", line=dict(color=OKABE_ITO[0], width=2.5)),
            dict(name="downhill", line=dict(color=OKABE_ITO[1], width=0), fill="tozeroy"),
        ],
        layout=dict(
            xaxis=dict(title=dict(text="curvature / √f″"), range=[-4.5, 8.5]),
            yaxis=dict(title=dict(text="density"), range=[0, 0.36]),
        ),
    )
