"""What loads an adapter agrees with the methods that the installed PEFT ships."""

import ast
import importlib.util
from pathlib import Path

import pytest

from advisor.catalog.loaders import loaders_of, needs_own_tuners
from advisor.catalog.methods import METHODS


def shipped_types() -> set[str]:
    """Return the names of PEFT's `PeftType` as its source has them: importing it here would show our own as well."""
    spec = importlib.util.find_spec("peft")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "utils" / "peft_types.py").read_text(encoding="utf-8")
    (enumeration,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "PeftType"
    ]
    return {
        target.id
        for line in enumeration.body
        if isinstance(line, ast.Assign)
        for target in line.targets
        if isinstance(target, ast.Name)
    }


def test_peft_alone_is_said_to_load_exactly_what_it_ships() -> None:
    shipped = shipped_types()
    trained = {slug: method.peft_type for slug, method in METHODS.items() if method.peft_type is not None}
    assert {slug for slug in trained if loaders_of(slug) == "PEFT alone"} == {
        slug for slug, peft_type in trained.items() if peft_type in shipped
    }
    assert {slug for slug in trained if needs_own_tuners(slug)} == {
        slug for slug, peft_type in trained.items() if peft_type not in shipped
    }


@pytest.mark.parametrize("method", ["adapter-pfeiffer", "compacter", "bitfit", "mam", "ff-lora-adapter"])
def test_a_method_of_our_own_names_the_package_and_the_import(method: str) -> None:
    said = loaders_of(method)
    assert "alone" not in said
    assert "pip install peft-advisor; import advisor.modeling.tuners" in said


def test_a_whole_model_needs_no_peft() -> None:
    assert loaders_of("full") == "transformers alone"


def test_a_method_of_another_version_is_taken_for_one_of_peft() -> None:
    assert loaders_of("of-tomorrow") == "PEFT alone"
