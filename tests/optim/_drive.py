"""Two optimizers, or one and its paper, driven with the same gradients."""

import torch
from torch.nn import Parameter

SHAPES = ((3, 4), (5,), (), (2, 1, 3))


def weights(seed=0, dtype=torch.float64, shapes=SHAPES):
    """Parameters with fixed random values."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    return [Parameter(draw(shape).to(dtype)) for shape in shapes]


def gradients(params, steps, seed=1, scale=1.0):
    """``steps`` lists of random gradients, one tensor a parameter; their size drifts."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        size = scale * (1 + step % 7)
        yield [
            (size * torch.randn(p.shape, generator=generator, dtype=torch.float64)).to(p.dtype)
            for p in params
        ]


def flat(tensors):
    """All elements as one detached vector."""
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def run(optimizer, params, steps=60, seed=1, scale=1.0):
    """Every iterate as one flat vector."""
    for grads in gradients(params, steps, seed, scale):
        for p, g in zip(params, grads):
            p.grad = g.clone()
        optimizer.step()
        yield flat(params).clone()


def flat_gradients(params, steps, seed=1, scale=1.0):
    """The same gradients for a reference: functions of θ that ignore θ."""
    for grads in gradients(params, steps, seed, scale):
        g = flat(grads)
        yield lambda theta, g=g: g


def agree(ours, theirs, tolerance=1e-12):
    """Both sequences are equal, iterate by iterate, and there are some."""
    count = 0
    for count, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=f"step {count}")
    assert count > 0
