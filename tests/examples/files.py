"""The files of `examples/` as tests see them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import yaml

from advisor.cli import group
from tests.docs.pages import ROOT

EXAMPLES = ROOT / "examples"
BATCH_FILES = tuple(sorted(EXAMPLES.glob("slurm/*.sbatch")))
MANIFESTS = tuple(sorted(EXAMPLES.glob("kubernetes/*.yaml")))
ALL_FILES = tuple(sorted(path for path in EXAMPLES.rglob("*") if path.is_file()))


def resources() -> list[dict[str, Any]]:
    """Return what the manifests describe."""
    return [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def resource(kind: str, name: str) -> dict[str, Any]:
    """Return a described thing by its kind and name."""
    (found,) = [one for one in resources() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod_specs() -> dict[str, dict[str, Any]]:
    """Return what the pods are made from, by the name of the pod or job."""
    made = {one["metadata"]["name"]: one["spec"] for one in resources() if one["kind"] in ("Pod", "Job")}
    return {name: spec["template"]["spec"] if "template" in spec else spec for name, spec in made.items()}


def containers() -> list[dict[str, Any]]:
    """Return the containers of all pods."""
    return [container for spec in pod_specs().values() for container in spec["containers"]]


def variables_set() -> dict[str, str]:
    """Return the environment variables that examples set, with a place where each is."""
    shell = {
        name: path.name
        for path in BATCH_FILES
        for name in re.findall(r"^export (\w+)=", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    in_pods = {one["name"]: container["name"] for container in containers() for one in container.get("env", ())}
    settings = {name: one["metadata"]["name"] for one in resources() for name in one.get("data", ())}
    return shell | in_pods | settings


def parse(words: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the real command line makes of a command in an environment.

    Raises:
        click.UsageError: It does not understand it.
    """
    assert words[0] == "peft-advisor", words
    context = click.Context(group)
    name, command, arguments = group.resolve_command(context, words[1:])
    assert command is not None, words
    assert name is not None, words
    with patch.dict(os.environ, environment):
        return command.make_context(name, arguments).params


def own_lines(text: str) -> str:
    """Return the block of a batch file that its reader changes."""
    return text.partition("# ---- yours")[2].partition("# ---- end of yours")[0]


def read(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")
