"""How many tokens the position embeddings of a model type allow.

Read off transformers 5.23 (`models/*/modeling_*.py`); tests/catalog/test_positions.py builds every type listed here and
feeds it one token too many.

Not covered: types with tables that are not listed (multimodal ones, LED, ESM, X-MOD and others that no one tunes on
code); they are taken to have none.
"""

from collections.abc import Mapping
from typing import Any

# Positions are counted from the one after the padding token's id, so the first rows of the table are never used.
_COUNTED_FROM_PADDING = frozenset({
    "camembert", "data2vec-text", "ibert", "longformer", "luke", "markuplm", "mpnet", "roberta", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl",
})  # fmt: skip
_USUAL_PADDING_ID = 1  # RoBERTa's
LEARNED_TABLES = _COUNTED_FROM_PADDING | {
    "albert", "bart", "bert", "bert-generation", "big_bird", "bigbird_pegasus", "biogpt", "blenderbot",
    "blenderbot-small", "convbert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "flaubert", "fnet",
    "gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "mbart", "megatron-bert", "mobilebert", "mra", "mvp", "nystromformer",
    "openai-gpt", "opt", "plbart", "rembert", "roc_bert", "squeezebert", "xlm", "yoso",
}  # fmt: skip
# Sines or rotations that are computed once, for as many tokens as the config says; nothing is learned, but the table
# ends all the same. (Llama and its kin compute theirs anew for every batch; XGLM and M2M-100 make theirs longer.)
FIXED_TABLES = frozenset({"codegen", "ctrl", "gptj", "marian", "pegasus", "roformer"})


def usable_positions(model_type: str, rows: int | None, padding_id: object = None) -> int | None:
    """Return how many tokens fit a config's positions.

    Args:
        model_type: transformers' name of the architecture.
        rows: `max_position_embeddings` of the config, under whatever name; None without one.
        padding_id: `pad_token_id` of the config; anything but a number stands for the usual one.
    """
    if rows is None or model_type not in _COUNTED_FROM_PADDING:
        return rows
    first = padding_id if isinstance(padding_id, int) and not isinstance(padding_id, bool) else _USUAL_PADDING_ID
    return rows - first - 1


def has_position_table(model_type: str, config: Mapping[str, Any]) -> bool:
    """Do positions come from a table, so that a longer sequence is an error, rather than computed or relative?"""
    # DeBERTa has relative positions, and absolute ones on top only where the config says so (by default it does).
    return model_type in LEARNED_TABLES | FIXED_TABLES and bool(config.get("position_biased_input", True))
