"""Fixtures of all tests that train: tiny base models, built once per session."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from advisor.spec import Architecture
from tests.models import save_tiny_base_model


@pytest.fixture(autouse=True, scope="session")
def fast_for_small_models() -> None:
    """Models this small lose time to threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the folder of a tiny base model: `base_folder(architecture, family=None)`."""
    root = tmp_path_factory.mktemp("bases")
    built: dict[tuple[str, str | None], Path] = {}

    def folder(architecture: Architecture, family: str | None = None) -> Path:
        key = architecture, family
        if key not in built:
            built[key] = save_tiny_base_model(architecture, root / f"{architecture}-{family}", family=family)
        return built[key]

    return folder
