"""The model that a user names: of the catalogue, in a folder, or on the hub."""

from dataclasses import replace

from advisor.dryrun.hub import config_from_hub
from advisor.dryrun.question import is_on_hub, known_model
from advisor.modeling.meta import ModelSource, read_model_source


def find_source(name: str) -> ModelSource:
    """Return the model of a catalogue entry, a folder, or a hub id.

    Raises:
        DataError: The folder or the hub has no usable config.json, or the hub cannot be asked.
        UnknownNameError: Neither a catalogue entry nor a folder, and it does not look like a hub id.
    """
    full = known_model(name)
    if is_on_hub(full):
        return replace(read_model_source(str(config_from_hub(full).parent)), name=full)
    return read_model_source(full)
