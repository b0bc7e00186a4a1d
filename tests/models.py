"""Tiny base models with random weights, and their tokenizers, for tests: built in well under a second, no network.

`save_tiny_base_model("encoder-only", tmp_path / "base")` leaves an ordinary folder that `from_pretrained` loads.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Architecture

MAX_POSITIONS = 128
VOCAB_SIZE = 400
# Same order and ids as RoBERTa, whose positions are counted from the id of <pad>.
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LINES = (
    "def add(a, b):\n    return a + b\n",
    "int sum(int a, int b) { return a + b; }\n",
    "for i in range(10):\n    print(i)\n",
    "Return the sum of two numbers.",
    "public static void main(String[] args) { System.out.println(args.length); }\n",
)


def save_tiny_base_model(
    architecture: Architecture, folder: Path, *, family: str | None = None, pad_token: bool = True, seed: int = 0
) -> Path:
    """Build a base model with random weights and save it with its tokenizer.

    Args:
        architecture: Decides family and tokenizer frame.
        folder: Created where missing.
        family: "roberta", "llama", "qwen2", "gpt2" or "t5"; None takes the usual one of the architecture.
        pad_token: Give the tokenizer a pad token (decoders in the wild often have none).
        seed: Of the weights.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    family = family or {"encoder-only": "roberta", "decoder-only": "llama", "encoder-decoder": "t5"}[architecture]
    tokenizer = tiny_tokenizer(architecture, pad_token=pad_token)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(family, len(tokenizer), pad_token)
    with quiet_libraries():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer(architecture: Architecture, *, pad_token: bool = True) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of `VOCAB_SIZE` entries on a few lines, framed for the architecture."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        LINES,
        trainer=trainers.BpeTrainer(
            vocab_size=VOCAB_SIZE,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    single, pair = {
        "encoder-only": ("<s> $A </s>", "<s> $A </s> </s> $B:1 </s>:1"),
        "decoder-only": ("<s> $A", "<s> $A $B:1"),
        "encoder-decoder": ("$A </s>", "$A </s> $B:1 </s>:1"),
    }[architecture]
    bpe.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, bpe.token_to_id(token)) for token in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<s>",
        sep_token="</s>",
        **({"pad_token": "<pad>"} if pad_token else {}),
        model_max_length=MAX_POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
    )


def _model(family: str, vocab_size: int, pad_token: bool) -> PreTrainedModel:
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1 if pad_token else None}
    common = {"vocab_size": vocab_size, **ids}
    decoder = {
        **common,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": MAX_POSITIONS,
        "tie_word_embeddings": True,
    }
    configs: dict[str, tuple[type[PreTrainedModel], PretrainedConfig]] = {
        "roberta": (
            RobertaForMaskedLM,
            RobertaConfig(
                **common,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=MAX_POSITIONS + 2,
                type_vocab_size=1,
            ),
        ),
        "llama": (LlamaForCausalLM, LlamaConfig(**decoder)),
        "qwen2": (Qwen2ForCausalLM, Qwen2Config(**decoder)),
        "gpt2": (
            GPT2LMHeadModel,
            GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, n_positions=MAX_POSITIONS),
        ),
        "t5": (
            T5ForConditionalGeneration,
            T5Config(
                **common,
                d_model=32,
                d_kv=8,
                num_heads=4,
                num_layers=2,
                num_decoder_layers=2,
                d_ff=64,
                feed_forward_proj="gated-gelu",
                decoder_start_token_id=1 if pad_token else 0,
            ),
        ),
    }
    model_class, config = configs[family]
    return model_class(config)
