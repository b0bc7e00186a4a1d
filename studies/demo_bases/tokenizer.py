"""One byte-level BPE vocabulary for all three base models; only the frame around a text differs."""

import copy
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

MAX_LENGTH = 512
N_SENTINELS = 32
# Same order and ids as RoBERTa: position numbering and padding then need no special care.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(N_SENTINELS))


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """Learn the vocabulary.

    Args:
        texts: Source files.
        vocab_size: Number of entries, special tokens, sentinels and the 256 bytes included.

    Returns:
        A tokenizer without a post-processor.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in (*SPECIAL_TOKENS, *SENTINELS)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def frame_for(tokenizer: Tokenizer, architecture: str) -> PreTrainedTokenizerFast:
    """Wrap the shared vocabulary for one architecture.

    Args:
        tokenizer: Result of `train_tokenizer`; left unchanged.
        architecture: "encoder" (`<s> A </s></s> B </s>`), "decoder" (`<s> A`) or "encoder-decoder" (`A </s>`).

    Returns:
        A tokenizer that `AutoTokenizer` loads again after `save_pretrained`.
    """
    single, pair = {
        "encoder": ("<s> $A </s>", "<s> $A </s> </s> $B:1 </s>:1"),
        "decoder": ("<s> $A", "<s> $A $B:1"),
        "encoder-decoder": ("$A </s>", "$A </s> $B:1 </s>:1"),
    }[architecture]
    framed = copy.deepcopy(tokenizer)
    framed.post_processor = processors.TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=framed,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<s>",
        sep_token="</s>",
        additional_special_tokens=list(SENTINELS),
        model_max_length=MAX_LENGTH,
        padding_side="left" if architecture == "decoder" else "right",
        clean_up_tokenization_spaces=False,
        # Only the encoder tells the two texts of a pair apart by segment ids.
        model_input_names=["input_ids", *(["token_type_ids"] if architecture == "encoder" else []), "attention_mask"],
    )
