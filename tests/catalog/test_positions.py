"""Positions of every listed model type, against transformers' own tiny models."""

from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from advisor.catalog.positions import FIXED_TABLES, LEARNED_TABLES, has_position_table, usable_positions
from advisor.modeling.quiet import quiet_libraries

ROWS = 64
SIZES = {
    "vocab_size": 100, "max_position_embeddings": ROWS, "n_positions": ROWS,
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "emb_dim", "dim", "embedding_size"), 32),
    **dict.fromkeys(("input_embedding_size", "output_embedding_size", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads", "num_key_value_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim", "hidden_dim", "dff"), 64),
    "head_dim": 8, "rotary_dim": 4, "attention_types": [[["global"], 1]], "attention_window": [8],
    "entity_vocab_size": 10, "entity_emb_size": 8,
}  # fmt: skip


def tiny_config(model_type: str, **changes: Any) -> PreTrainedConfig:
    usual = AutoConfig.for_model(model_type)
    config = type(usual)(**{name: value for name, value in SIZES.items() if hasattr(usual, name)}, **changes)
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not config.is_encoder_decoder:
        config.is_decoder = True  # BERT and its kin want to be told
    if (getattr(config, "pad_token_id", None) or 0) >= SIZES["vocab_size"]:
        config.pad_token_id = 0
    return config


def tiny_model(config: PreTrainedConfig) -> PreTrainedModel:
    kind: Any = AutoModelForSequenceClassification
    if config.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        kind = AutoModelForSeq2SeqLM
    elif config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        kind = AutoModelForCausalLM
    with quiet_libraries():
        model: PreTrainedModel = kind.from_config(config)
    return model.eval()


def read(model: PreTrainedModel, length: int) -> None:
    """Run a sequence of that many tokens, none of which is padding."""
    target = {"decoder_input_ids": torch.full((1, 1), 5)} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        model(input_ids=torch.full((1, length), 5), **target)


def learned_tables(model: PreTrainedModel) -> list[str]:
    """Return the parameters with a row for each position, and perhaps two more."""
    return [
        name
        for name, one in model.named_parameters()
        if one.ndim == 2 and ROWS <= one.shape[0] <= ROWS + 2 and ("pos" in name or "wpe" in name)
    ]


@pytest.mark.parametrize("model_type", sorted(LEARNED_TABLES | FIXED_TABLES))
def test_a_table_of_positions_ends_where_it_is_said_to_end(model_type):
    config = tiny_config(model_type)
    assert has_position_table(model_type, config.to_dict())
    limit = usable_positions(model_type, ROWS, getattr(config, "pad_token_id", None))
    model = tiny_model(config)
    read(model, limit)
    with pytest.raises((IndexError, RuntimeError)):
        read(model, limit + 1)


@pytest.mark.parametrize("model_type", sorted(LEARNED_TABLES))
def test_a_learned_table_is_a_parameter(model_type):
    assert learned_tables(tiny_model(tiny_config(model_type)))


@pytest.mark.parametrize("model_type", ["codegen", "ctrl", "gptj"])
def test_a_fixed_table_is_none(model_type):
    assert not learned_tables(tiny_model(tiny_config(model_type)))


@pytest.mark.parametrize("model_type", ["gpt_neox", "llama", "phi", "qwen2", "starcoder2", "t5", "xglm"])
def test_computed_and_relative_positions_do_not_end(model_type):
    config = tiny_config(model_type)
    assert not has_position_table(model_type, config.to_dict())
    read(tiny_model(config), 2 * ROWS)


def test_roberta_counts_from_its_padding_token():
    assert usable_positions("roberta", 514, 1) == usable_positions("roberta", 514) == 512
    limit = usable_positions("roberta", ROWS, 4)
    assert limit == ROWS - 5
    model = tiny_model(tiny_config("roberta", pad_token_id=4))
    read(model, limit)
    with pytest.raises((IndexError, RuntimeError)):
        read(model, limit + 1)


def test_deberta_without_absolute_positions_has_no_table():
    config = tiny_config("deberta-v2", position_biased_input=False, relative_attention=True)
    assert not has_position_table("deberta-v2", config.to_dict())
    read(tiny_model(config), ROWS + 8)


def test_without_a_number_of_rows_there_is_no_limit():
    assert usable_positions("roberta", None, 1) is None
