"""Libraries are silent within the block and as they were after it."""

import warnings

import pytest
from transformers.utils import logging

from advisor.modeling.quiet import quiet_libraries


@pytest.mark.parametrize("bars", [True, False])
def test_settings_come_back_also_after_an_error(bars: bool) -> None:
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
    logging.set_verbosity_info()

    def fail_inside() -> None:
        with quiet_libraries():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert logging.get_verbosity() == logging.INFO
    assert logging.is_progress_bar_enabled() == bars
    logging.set_verbosity_warning()
    logging.enable_progress_bar()


def test_warnings_inside_are_not_shown_and_those_after_are() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("inside", stacklevel=1)
        warnings.warn("after", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["after"]
