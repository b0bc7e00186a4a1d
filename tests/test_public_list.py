"""The public names load on first use and are what the package says they are."""

import subprocess
import sys

import pytest

import advisor


@pytest.mark.parametrize("name", advisor.__all__)
def test_every_public_name_loads_and_has_a_docstring(name):
    assert getattr(advisor, name).__doc__


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, advisor; print([m for m in ('click', 'numpy', 'torch', 'optuna', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        advisor.nothing  # noqa: B018
