"""Where the three demonstration base models lie."""

from pathlib import Path

from advisor.errors import DataError

_FOLDERS = {"encoder-only": "encoder", "decoder-only": "decoder", "encoder-decoder": "encoder-decoder"}


def base_model_path(architecture: str) -> Path:
    """Folder of a demonstration base model, for `from_pretrained`.

    Args:
        architecture: "encoder-only", "decoder-only" or "encoder-decoder".

    Returns:
        The folder inside the installed package.

    Raises:
        DataError: If the architecture is not one of the three, or its folder lacks the weights.
    """
    if architecture not in _FOLDERS:
        raise DataError(f"no demonstration base model for architecture {architecture!r}; choose from {list(_FOLDERS)}")
    folder = Path(__file__).parent / "bases" / _FOLDERS[architecture]
    if not (folder / "model.safetensors").is_file():
        raise DataError(
            f"the demonstration base model {_FOLDERS[architecture]!r} is not in this installation; "
            "install the package again, or make the models with `python -m studies.demo_bases.run`"
        )
    return folder
