"""What is known of transformers' model types: where adapters go, and which modules have biases.

The catalogue needs both without building a model. Tests compare with `modeling.tuners.insertion` and with the modules
that transformers 5 builds.
"""

from collections.abc import Mapping

_ALL = frozenset({"q", "k", "v", "o", "gate", "up", "down"})
_QKV = frozenset({"q", "k", "v"})
_FEED_FORWARD = frozenset({"up", "down"})
_NONE: frozenset[str] = frozenset()

# Roles of the linear layers that have a bias, by model type. A checkpoint's configuration may say otherwise
# (`attention_bias` and its like); these are the configurations' defaults.
LINEAR_BIASES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "bart", "plbart"), _ALL),
    **dict.fromkeys(("gpt2", "gpt_bigcode", "starcoder2", "phi"), _ALL),
    **dict.fromkeys(("codegen", "gptj"), _FEED_FORWARD),
    "gpt_neo": _FEED_FORWARD | {"o"},
    "qwen2": _QKV,
    **dict.fromkeys(
        (
            "t5", "mt5", "llama", "mistral", "qwen3", "gemma", "granite", "phi3", "smollm3", "stablelm", "modernbert",
        ),
        _NONE,
    ),
}  # fmt: skip
# Model types none of whose modules has a bias: there is nothing for BitFit to train.
WITHOUT_BIASES = frozenset({
    "t5", "mt5", "llama", "mistral", "qwen3", "gemma", "gemma2", "gemma3_text", "granite", "phi3", "smollm3",
    "modernbert", "mixtral", "qwen3_moe", "olmo2", "deepseek_v2", "deepseek_v3", "qwen3_5_text", "gemma4_text",
})  # fmt: skip

# Model types whose layers are known to `modeling.tuners.insertion`.
FAMILIES_WITH_PLACES = frozenset(LINEAR_BIASES)
# Of those, the ones that compute attention without transformers' registry, so that prefixes find no way in.
WITHOUT_ATTENTION_REGISTRY = frozenset({"codegen", "gptj", "gpt_neo"})
# Normalisations of a layer, where they are not two.
NORMS_OF_A_LAYER: Mapping[str, int] = {"codegen": 1, "gptj": 1, "phi": 1}
# Model types whose layers are transformers' Conv1D, which many methods of PEFT do not know.
CONV1D_MODEL_TYPES = frozenset({"gpt2"})
