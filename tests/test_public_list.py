"""The public names load on first use and are what the package says they are."""

import subprocess
import sys

import pytest

import advisor


@pytest.mark.parametrize("name", advisor.__all__)
def test_every_public_name_loads_and_has_a_docstring(name):
    assert getattr(advisor, name).__doc__


def test_the_verbs_of_the_command_line_are_public_functions():
    assert {"estimate", "recommend", "tune"} <= set(advisor.__all__)
    assert all(callable(getattr(advisor, name)) for name in ("estimate", "recommend", "tune"))


def test_a_mistake_in_an_estimate_is_said_without_torch():
    code = (
        "import sys, advisor\n"
        "try: advisor.estimate('codebert-base', 'nosuch')\n"
        "except advisor.AdvisorError as error: print('torch' in sys.modules, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False unknown method 'nosuch'")


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, advisor; print([m for m in ('click', 'numpy', 'torch', 'optuna', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        advisor.nothing  # noqa: B018
