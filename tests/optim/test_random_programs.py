"""Random programs: groups, missing gradients, changed lr and λ, saves and loads.

The reference is the pure rule in its simplest use, tensor by tensor, in float64. hypothesis
prints the program and the seed that reproduce a failure.
"""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import Parameter

from etalambda.optim import SGDS, SGDW, Adai, AdaiS, AdamS
from etalambda.optim import functional as F

MAKE = {
    "AdamS": lambda groups, **o: AdamS(groups, betas=(0.8, 0.9), **o),
    "AMSGradS": lambda groups, **o: AdamS(groups, betas=(0.8, 0.9), amsgrad=True, **o),
    "SGDS": lambda groups, **o: SGDS(groups, momentum=0.8, **o),
    "SGDW": lambda groups, **o: SGDW(groups, momentum=0.8, **o),
    "Adai": Adai,
    "AdaiS": AdaiS,
}
actions = st.lists(
    st.tuples(
        st.sampled_from(["step", "step", "step", "step", "save and load", "lr", "decay"]),
        st.integers(0, 15),  # which tensors have a gradient; which group changes
        st.floats(0.1, 2.0),
    ),
    min_size=30,
    max_size=30,
)


class Twin:
    """The algorithm on plain lists: one state a tensor, all hyperparameters a tensor."""

    def __init__(self, name, tensors, lrs, decays):
        self.rule = name.lower().replace("amsgrads", "adams")
        self.amsgrad = name == "AMSGradS"
        self.tensors, self.lrs, self.decays = tensors, lrs, decays
        self.states = [F.init(self.rule, [t], amsgrad=self.amsgrad) for t in tensors]

    def step(self, grads):
        active = [i for i, g in enumerate(grads) if g is not None]
        if not active:
            return
        pick = lambda values: [values[i] for i in active]
        keys = [k for k in self.states[0] if k != "step"]
        state = {k: [self.states[i][k][0] for i in active] for k in keys}
        state["step"] = [self.states[i]["step"] for i in active]
        options = dict(lr=pick(self.lrs), weight_decay=pick(self.decays))
        if self.rule.startswith("sgd"):
            options["momentum"] = 0.8
        elif self.rule == "adams":
            options |= dict(betas=(0.8, 0.9), amsgrad=self.amsgrad)
        moved, state = F.RULES[self.rule](pick(self.tensors), pick(grads), state, **options)
        for k, i in enumerate(active):
            self.tensors[i] = moved[k]
            self.states[i] = {key: [state[key][k]] for key in keys} | {"step": state["step"][k]}


def groups_of(params, lrs, decays):
    return [
        dict(params=params[:2], lr=lrs[0], weight_decay=decays[0]),
        dict(params=params[2:], lr=lrs[2], weight_decay=decays[2]),
    ]


@pytest.mark.parametrize("name", MAKE)
@settings(
    max_examples=40, deadline=None, print_blob=True, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(program=actions, seed=st.integers(0, 2**31), flag=st.sampled_from([{}, {"foreach": True}]))
def test_random_program_equals_the_reference(name, program, seed, flag):
    """6 optimizers x 40 programs of 30 actions."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    start = [draw(shape) for shape in ((3, 2), (4,), (), (2, 2))]
    lrs, decays = [0.02, 0.02, 0.05, 0.05], [0.1, 0.1, 0.0, 0.0]
    twin = Twin(name, [t.clone() for t in start], lrs, decays)
    params = [Parameter(t.clone()) for t in start]
    optimizer = MAKE[name](groups_of(params, lrs, decays), **flag)
    for action, which, number in program:
        group = which % 2
        if action == "lr":
            value = optimizer.param_groups[group]["lr"] = 0.03 * number
            lrs[2 * group : 2 * group + 2] = [value] * 2
        elif action == "decay":
            value = optimizer.param_groups[group]["weight_decay"] = 0.1 * number
            decays[2 * group : 2 * group + 2] = [value] * 2
        elif action == "save and load":
            saved = copy.deepcopy(optimizer.state_dict())
            params = [Parameter(p.detach().clone()) for p in params]
            optimizer = MAKE[name](groups_of(params, [1.0] * 4, [0.0] * 4), **flag)
            optimizer.load_state_dict(saved)
        else:
            grads = [draw(p.shape) if which >> i & 1 else None for i, p in enumerate(params)]
            for p, g in zip(params, grads):
                p.grad = None if g is None else g.clone()
            optimizer.step()
            twin.step(grads)
    for p, t in zip(params, twin.tensors):
        torch.testing.assert_close(p.detach(), t, rtol=1e-11, atol=1e-11)
