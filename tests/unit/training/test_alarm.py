import math

import pytest

from facemend.errors import TrainingError
from facemend.training.logging import Alarm


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_refused_with_its_step(loss: float) -> None:
    with pytest.raises(TrainingError, match="discriminator is no number any more in the step after 640"):
        Alarm().check({"generator": 1.0, "discriminator": loss}, 640)


def test_an_explosion_is_refused_and_a_jump_is_not() -> None:
    alarm = Alarm()
    for step in range(100):
        alarm.check({"generator": 1.0 if step % 2 else -1.0}, step)
    alarm.check({"generator": 50.0}, 100)
    with pytest.raises(TrainingError, match=r"exploded from 1\.98 to 5e"):
        alarm.check({"generator": -5000.0}, 101)


def test_a_discriminator_that_was_sure_may_be_surprised() -> None:
    alarm = Alarm()
    for step in range(100):
        alarm.check({"discriminator": 1e-4}, step)
    alarm.check({"discriminator": 3.0}, 100)


def test_a_beginning_may_be_wild() -> None:
    alarm = Alarm()
    for loss in (1e-3, 10.0, 1.0):
        alarm.check({"generator": loss}, 0)
