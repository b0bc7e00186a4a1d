"""Where adapters go in a transformer layer, for each family of models.

A layer has one or two attention sublayers and a feed-forward sublayer, and each adds its output to the residual stream.
Names are those of transformers 5. `{i}` stands for the number of the layer; a place that a layer lacks is left out.

Post-norm families (BERT, BART) normalise after the addition, all others before the sublayer. In families that run
attention and feed-forward side by side (Phi, CodeGen, GPT-J) nothing but the layer's input enters the feed-forward
sublayer, which is where adapters in parallel with it and after it are put all the same.

Not covered: mixtures of experts, whose feed-forward sublayer is many; encoders with remote code; any model type that is
not in `FAMILIES`, which is refused by name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from advisor.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Names of the places in one layer, relative to the layer; "" is the layer itself.

    Attributes:
        layer: Regular expression of a layer's full name.
        attention: Attention sublayers; their biases and weights are those of attention.
        attention_outputs: Last module of each attention sublayer: what it gives is added to the residual stream.
        feed_forward: First and last module of the feed-forward sublayer; equal where one module is the whole of it.
        feed_forward_output: Last linear layer of the feed-forward sublayer.
        feed_forward_sum: Post-norm: the normalisation that takes the sum of residual stream and feed-forward output.
            Else the module that gives that sum.
        post_norm: Which of the two it is.
    """

    layer: str
    attention: tuple[str, ...]
    attention_outputs: tuple[str, ...]
    feed_forward: tuple[str, str]
    feed_forward_output: str
    feed_forward_sum: str
    post_norm: bool


_BERT = Family(
    layer=r"(?:.*\.)?encoder\.layer\.\d+",
    attention=("attention", "crossattention"),
    attention_outputs=("attention.output.dense", "crossattention.output.dense"),
    feed_forward=("intermediate.dense", "output.dense"),
    feed_forward_output="output.dense",
    feed_forward_sum="output.LayerNorm",
    post_norm=True,
)
_MODERNBERT = Family(
    layer=r"(?:.*\.)?layers\.\d+",
    attention=("attn",),
    attention_outputs=("attn.Wo",),
    feed_forward=("mlp", "mlp"),
    feed_forward_output="mlp.Wo",
    feed_forward_sum="",
    post_norm=False,
)
# The last sublayer of a block is the feed-forward one: number 1 in the encoder, number 2 in the decoder.
_T5_ENCODER = Family(
    layer=r"(?:.*\.)?encoder\.block\.\d+",
    attention=("layer.0",),
    attention_outputs=("layer.0.SelfAttention.o",),
    feed_forward=("layer.1.DenseReluDense", "layer.1.DenseReluDense"),
    feed_forward_output="layer.1.DenseReluDense.wo",
    feed_forward_sum="layer.1",
    post_norm=False,
)
_T5_DECODER = Family(
    layer=r"(?:.*\.)?decoder\.block\.\d+",
    attention=("layer.0", "layer.1"),
    attention_outputs=("layer.0.SelfAttention.o", "layer.1.EncDecAttention.o"),
    feed_forward=("layer.2.DenseReluDense", "layer.2.DenseReluDense"),
    feed_forward_output="layer.2.DenseReluDense.wo",
    feed_forward_sum="layer.2",
    post_norm=False,
)
_BART = Family(
    layer=r"(?:.*\.)?(?:encoder|decoder)\.layers\.\d+",
    attention=("self_attn", "encoder_attn", "self_attn_layer_norm", "encoder_attn_layer_norm"),
    attention_outputs=("self_attn.out_proj", "encoder_attn.out_proj"),
    feed_forward=("fc1", "fc2"),
    feed_forward_output="fc2",
    feed_forward_sum="final_layer_norm",
    post_norm=True,
)


def _decoder(layer: str, attention: str, output: str, feed_forward_output: str) -> Family:
    """Return a family of decoders that normalise before a sublayer and have a module `mlp`."""
    return Family(
        layer=rf"(?:.*\.)?{layer}\.\d+",
        attention=(attention,),
        attention_outputs=(f"{attention}.{output}",),
        feed_forward=("mlp", "mlp"),
        feed_forward_output=f"mlp.{feed_forward_output}",
        feed_forward_sum="",
        post_norm=False,
    )


_LLAMA = _decoder("layers", "self_attn", "o_proj", "down_proj")
_GPT2 = _decoder("h", "attn", "c_proj", "c_proj")

# By transformers' model type.
FAMILIES: dict[str, tuple[Family, ...]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), (_BERT,)),
    "modernbert": (_MODERNBERT,),
    **dict.fromkeys(("t5", "mt5"), (_T5_ENCODER, _T5_DECODER)),
    **dict.fromkeys(("bart", "plbart"), (_BART,)),
    **dict.fromkeys(
        (
            "llama", "mistral", "qwen2", "qwen3", "gemma", "granite", "phi3", "smollm3",
        ),
        (_LLAMA,),
    ),
    "starcoder2": (_decoder("layers", "self_attn", "o_proj", "c_proj"),),
    "stablelm": (_LLAMA,),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), (_GPT2,)),
    "gpt_neo": (_decoder("h", "attn", "attention.out_proj", "c_proj"),),
    **dict.fromkeys(("codegen", "gptj"), (_decoder("h", "attn", "out_proj", "fc_out"),)),
    "phi": (_decoder("layers", "self_attn", "dense", "fc2"),),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlaces:
    """The places of one layer of a model, by full names.

    Attributes:
        name: Of the layer.
        family: Names relative to it.
    """

    name: str
    family: Family

    def full(self, place: str) -> str:
        """Return the full name of a place."""
        return f"{self.name}.{place}" if place else self.name


def layers_of(model: nn.Module, model_type: str) -> tuple[LayerPlaces, ...]:
    """Return the transformer layers of a model in the order of its modules.

    Args:
        model: A transformers model, with or without a head, adapters may be on it.
        model_type: transformers' name of it.

    Raises:
        InputError: The model type is of no family that is known here, or the model has no such layers.
    """
    if model_type not in FAMILIES:
        raise InputError(
            f"where adapters go in {model_type} models is not known; known are: {', '.join(sorted(FAMILIES))}"
        )
    found = tuple(_find(model, FAMILIES[model_type]))
    if not found:
        raise InputError(f"this {model_type} model has none of the layers that adapters go into")
    return found


def _find(model: nn.Module, families: tuple[Family, ...]) -> Iterator[LayerPlaces]:
    for name, _ in model.named_modules():
        for family in families:
            if re.fullmatch(family.layer, name):
                yield LayerPlaces(name=name, family=family)
