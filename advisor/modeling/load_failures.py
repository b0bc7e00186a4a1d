"""Why a base model cannot be loaded, in one line with what to do, where the library's own words do not say it."""

import json
from pathlib import Path

_MOST_CHARACTERS = 200
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# What huggingface_hub and transformers say when files are neither in the cache nor may be fetched.
_NOT_FETCHED = ("offline mode", "outgoing traffic has been disabled", "we couldn't connect to", "is not cached locally")


def why_not_loaded(base_model: str, error: Exception) -> str:
    """Return the reason.

    Args:
        base_model: Hub id or folder.
        error: What a library raised.
    """
    text = " ".join(str(error).split())
    folder = Path(base_model)
    if folder.is_dir():
        pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
        if pickled and not any(folder.glob("*.safetensors")):
            return (
                f"its weights are pickled, in {pickled[0]}, and unpickling may run any code; save them as safetensors"
            )
    if "trust_remote_code" in text or ("model type" in text and _brings_code(folder)):
        return "it needs Python code of its own, which is never run; name a model of a type that transformers has"
    if any(words in text.lower() for words in _NOT_FETCHED):
        return (
            "it is not in the cache and the hub cannot be reached; download it where there is a network, or name a "
            "local folder"
        )
    return text[:_MOST_CHARACTERS] or type(error).__name__


def _brings_code(folder: Path) -> bool:
    """Return whether the config of a folder names classes of its own."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "auto_map" in config
