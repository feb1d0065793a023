import math

import pytest

from facemend.errors import TrainingError
from facemend.training.logging import DivergenceCheck


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_refused_with_its_step(loss: float) -> None:
    with pytest.raises(TrainingError, match="discriminator is no number any more in the step after 640"):
        DivergenceCheck().check({"generator": 1.0, "discriminator": loss}, 640)


def test_an_explosion_is_refused_and_a_jump_is_not() -> None:
    check = DivergenceCheck()
    for step in range(100):
        check.check({"generator": 1.0 if step % 2 else -1.0}, step)
    check.check({"generator": 50.0}, 100)
    with pytest.raises(TrainingError, match=r"exploded from 1\.98 to 5e"):
        check.check({"generator": -5000.0}, 101)


def test_a_discriminator_that_was_sure_may_be_surprised() -> None:
    check = DivergenceCheck()
    for step in range(100):
        check.check({"discriminator": 1e-4}, step)
    check.check({"discriminator": 3.0}, 100)


def test_a_beginning_may_be_wild() -> None:
    check = DivergenceCheck()
    for loss in (1e-3, 10.0, 1.0):
        check.check({"generator": loss}, 0)
