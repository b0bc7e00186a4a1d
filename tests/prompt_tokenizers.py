"""Tokenizers with chat templates and fill-in-the-middle tokens, in the formats of well-known families.

The templates are short ones of our own that write the formats which Qwen3 and Llama 3 document.
"""

from collections.abc import Sequence

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from tests.models import tiny_tokenizer

CHATML = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
LLAMA = """\
{{- bos_token }}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + strftime_now('%d %b %Y') + '\\n\\n<|eot_id|>' }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
NEEDS_SYSTEM = """\
{%- if messages[0].role != 'system' %}{{ raise_exception('no system message') }}{%- endif %}
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}<|im_start|>assistant
"""
REFUSES = "{{ raise_exception('this model does not chat') }}"
ONE_TURN = """\
{%- if messages | length > 1 %}{{ raise_exception('one turn only') }}{%- endif %}
{{- '<|im_start|>' + messages[0].content + '<|im_end|>' }}"""

CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
LLAMA_TOKENS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def tokenizer_with(
    tokens: Sequence[str] = (), *, unmarked: Sequence[str] = (), chat_template: str | None = None
) -> PreTrainedTokenizerFast:
    """Make a decoder's tokenizer.

    Args:
        tokens: Control tokens that are marked as special.
        unmarked: Added tokens that are not.
        chat_template: Jinja, None for none.
    """
    tokenizer = tiny_tokenizer("decoder-only")
    added = [AddedToken(token, special=True, normalized=False) for token in tokens]
    added += [AddedToken(token, special=False, normalized=False) for token in unmarked]
    tokenizer.add_tokens(added)
    tokenizer.chat_template = chat_template
    return tokenizer


def on_a_fixed_day(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """Return what `apply_chat_template` must be told to write the next turn as of 26 July 2024, without thinking."""
    template = str(tokenizer.chat_template).replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
    return {"chat_template": template, "add_generation_prompt": True, "enable_thinking": False}


def chatml_tokenizer() -> PreTrainedTokenizerFast:
    """Make one like Qwen3's."""
    return tokenizer_with(CHATML_TOKENS, unmarked=("<think>", "</think>"), chat_template=CHATML)


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Make one like Llama 3's."""
    return tokenizer_with(LLAMA_TOKENS, chat_template=LLAMA)
