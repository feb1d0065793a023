import inspect
import pickle

import pytest

from facemend import errors
from facemend.errors import ConfigError, FacemendError, UsageError

ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("cls", ALL)
def test_every_error_has_one_base_and_stands_in_the_drawn_tree(cls: type[FacemendError]) -> None:
    assert issubclass(cls, FacemendError)
    assert cls.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("cls", ALL)
def test_wrong_use_exits_with_2_and_everything_else_with_1(cls: type[FacemendError]) -> None:
    assert cls.exit_code == (2 if cls in (UsageError, ConfigError) else 1)


@pytest.mark.parametrize("cls", ALL)
def test_an_error_crosses_process_borders_whole(cls: type[FacemendError]) -> None:
    again = pickle.loads(pickle.dumps(cls("what to do")))
    assert type(again) is cls
    assert str(again) == "what to do"
