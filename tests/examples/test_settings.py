"""What the examples set is what the program and its libraries read, and no file holds a password."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.examples.files import ALL_FILES, EXAMPLES, read, resource, variables_set

FILE = pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
# POSIX's own: https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html
POSIX = {"HOME"}
# Of OpenMP, which PyTorch computes with on CPUs: https://www.openmp.org/spec-html/5.0/openmpse50.html
OPENMP = {"OMP_NUM_THREADS"}


def read_by_libpq() -> set[str]:
    """Return the environment variables of PostgreSQL's library, as it names them itself."""
    pq = pytest.importorskip("psycopg.pq", reason="psycopg is not installed (the extra `postgres`)")
    return {one.envvar.decode() for one in pq.Conninfo.get_defaults() if one.envvar}


def read_by_the_hub() -> set[str]:
    """Return the environment variables that huggingface_hub names in its constants."""
    found = find_spec("huggingface_hub")
    assert found is not None
    assert found.origin is not None
    return set(re.findall(r'"(HF_[A-Z_]+)"', (Path(found.origin).parent / "constants.py").read_text()))


def read_by_the_program() -> set[str]:
    """Return the environment variables of this package."""
    return {
        name for path in (ROOT / "advisor").rglob("*.py") for name in re.findall(r"PEFT_ADVISOR_[A-Z_]+", read(path))
    }


def test_every_variable_that_is_set_is_read_by_somebody():
    known = POSIX | OPENMP | read_by_libpq() | read_by_the_hub() | read_by_the_program()
    assert {name: place for name, place in variables_set().items() if name not in known} == {}


def test_the_place_of_the_study_is_set_in_both_kinds_of_examples():
    places = [match[1] for path in ALL_FILES for match in re.finditer(r"PEFT_ADVISOR_STORAGE(?:=|: )(\S+)", read(path))]
    assert len(places) == 3  # two batch files, one ConfigMap
    assert set(places) == {"postgresql+psycopg://advisor@database.example.org/advisor"}
    assert resource("ConfigMap", "peft-advisor")["data"]["PEFT_ADVISOR_STORAGE"] in places


@FILE
def test_no_file_holds_a_password(path):
    text = read(path)
    assert re.search(r"://[^\s/@:]+:[^\s/@]+@", text) is None  # user:password@host
    given = re.findall(r"(?i)\b(?:PG)?passw(?:or)?d\b[\"']?\s*[:=]\s*([^\s`;,]+)", text)
    assert [value for value in given if value.strip(".\"'") not in ("", "PASSWORD")] == []
    assert "kind: Secret" not in text


@FILE
def test_no_file_names_a_machine_of_ours(path):
    hosts = re.findall(r"\b(?:[a-z0-9-]+\.)+(?:org|com|net|io|internal|local)\b", read(path))
    # Names under example.org and example.com belong to nobody (RFC 2606); the others begin names of Kubernetes.
    ours = [one for one in hosts if not one.endswith((".example.org", ".example.com"))]
    assert set(ours) <= {"app.kubernetes.io", "nvidia.com"}
    assert re.search(r"(?<![\w.])/(?:home|root|work|Users)/", read(path)) is None
