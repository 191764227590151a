"""The same trials together and one after the other, for the tests of the many-trials engine."""

import torch

from etalambda.lab.engine import train

STEPS = 40
DOUBLE = dict(dtype=torch.float64)


def finals(make, task, trials, **options):
    """The last snapshot of every chunk, in order."""
    options = dict(steps=STEPS, every=STEPS, **DOUBLE) | options
    seen = list(train(make, task.batches, trials, **options))
    return [snapshot for snapshot in seen if snapshot.step == options["steps"]]


def alone(make, task, trials, **options):
    """Every trial by its optimizer's own class."""
    return [finals(make, task, [trial], **options)[0] for trial in trials]


def assert_same(together, alones, task_inputs, tolerance=1e-10):
    outputs = torch.cat([s.predict(task_inputs) for s in together])
    expected = torch.cat([s.predict(task_inputs) for s in alones])
    torch.testing.assert_close(outputs, expected, rtol=tolerance, atol=tolerance)
    for name in ("loss", "K", "norm", "gradient_norm"):
        ours = torch.cat([getattr(s, name) for s in together])
        theirs = torch.cat([getattr(s, name) for s in alones])
        torch.testing.assert_close(
            ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True
        )  # K of Adam with L2 is NaN
