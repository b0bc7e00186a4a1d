"""The tokenizer of a base model without the model, for measuring lengths."""

from collections.abc import Sequence
from typing import Any

from advisor.data.token_lengths import TokenCounter
from advisor.errors import DataError
from advisor.modeling.quiet import quiet_libraries

# Tokenizers without a limit say so by a number that no model has.
_NO_LIMIT = 10**6


def token_counter(base_model: str) -> TokenCounter:
    """Load the tokenizer of a base model.

    Args:
        base_model: Hub id or local folder.

    Raises:
        DataError: There is no tokenizer that can be loaded.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_libraries():
            tokenizer: Any = AutoTokenizer.from_pretrained(base_model, trust_remote_code=False)
    except Exception as error:  # transformers, tokenizers and the hub raise a dozen unrelated classes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"--model {base_model}: its tokenizer cannot be loaded ({reason})") from error

    def count(texts: Sequence[str]) -> list[int]:
        with quiet_libraries():  # tokenizers warn of every text that is longer than the model
            found = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [len(ids) for ids in found]

    limit = int(tokenizer.model_max_length)
    return TokenCounter(name=base_model, count=count, max_length=limit if limit < _NO_LIMIT else None)
