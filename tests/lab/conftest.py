"""What several files of the lab's tests start from."""

import pytest

from etalambda.lab.tasks import Digits


@pytest.fixture(scope="session")
def digits():
    """The digits in float64, so that two ways to one number may be compared to 1e-10."""
    task = Digits(batch_size=30)
    task.x = {name: x.double() for name, x in task.x.items()}
    return task
