"""Limits that make no sense are refused before anything runs."""

import pytest

from advisor.errors import InputError
from advisor.execution import Limits


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"cpu_s": 0}, "cpu_s"),
        ({"cpu_s": 1.5}, "cpu_s"),
        ({"wall_s": -1.0}, "wall_s"),
        ({"wall_s": float("nan")}, "wall_s"),
        ({"n_processes": 0}, "n_processes"),
        ({"memory_bytes": 2**20}, "memory_bytes"),
    ],
)
def test_a_limit_that_no_program_can_keep_is_named(limits: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Limits(**limits)  # type: ignore[arg-type]
