"""Which template a tokenizer gets, and that a chat template's own output is what is read."""

import pytest

from advisor.catalog.prompts import prompt_for, prompt_of
from advisor.catalog.tasks import TASKS, find_task
from tests.prompt_tokenizers import (
    CHATML_TOKENS,
    NEEDS_SYSTEM,
    ONE_TURN,
    REFUSES,
    chatml_tokenizer,
    llama_tokenizer,
    on_a_fixed_day,
    tokenizer_with,
)

SUMMARIES, REPAIR, COMPLETION = (find_task(f"code-{name}") for name in ("summarization", "refinement", "completion"))
INSTRUCTION = "Rewrite this code without the bug."
FAMILIES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
)


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.kind == "generative"], ids=lambda t: t.slug)
def test_a_tokenizer_without_a_chat_template_gets_the_plain_one(task):
    prompt = prompt_for(task, tokenizer_with())
    assert prompt == prompt_of(task)
    assert (prompt.name, prompt.before) == ("plain", f"# {task.instruction}\n")


@pytest.mark.parametrize("make", [chatml_tokenizer, llama_tokenizer])
def test_a_chat_template_writes_what_stands_around_the_source(make):
    tokenizer = make()
    prompt = prompt_for(REPAIR, tokenizer)
    source = "def f(x):\n    return x"
    message = {"role": "user", "content": f"{INSTRUCTION}\n\n{source}"}
    expected = tokenizer.apply_chat_template([message], **on_a_fixed_day(tokenizer), tokenize=False)
    assert prompt.name == "chat"
    assert prompt.before + source + prompt.after == expected


def test_thinking_is_switched_off_where_the_template_knows_the_switch():
    prompt = prompt_for(REPAIR, chatml_tokenizer())
    assert prompt.before == f"<|im_start|>user\n{INSTRUCTION}\n\n"
    assert prompt.after == "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    # An answer of the past stands as the template writes it, here without the empty thoughts.
    assert prompt.answered == "<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.again == f"<|im_end|>\n<|im_start|>user\n{INSTRUCTION}\n\n"


def test_a_template_with_a_date_reads_the_same_on_any_day():
    prompt = prompt_for(SUMMARIES, llama_tokenizer())
    assert "Today Date: 26 Jul 2024" in prompt.before
    assert prompt.before.startswith("<s><|start_header_id|>system")  # the template's own start and system message


@pytest.mark.parametrize(
    ("form", "day"), [("%d %b %Y", "26 Jul 2024"), ("%d %B %Y", "26 July 2024"), ("%Y-%m-%d", "2024-07-26")]
)
def test_the_day_is_written_as_the_template_wants_it(form, day):
    # Families call it at the top (Llama 3), or in a macro of their own (gpt-oss).
    shown = "{{ strftime_now('" + form + "') }}"
    message = "\n{{ messages[0].content }}|"
    for template in (f"Today: {shown}", "{%- macro head() %}Today: " + shown + "{% endmacro %}{{ head() }}"):
        tokenizer = tokenizer_with(chat_template=template + message)
        assert prompt_for(REPAIR, tokenizer).before == f"Today: {day}\n{INSTRUCTION}\n\n"


def test_a_system_message_is_written_only_for_a_template_that_fails_without():
    prompt = prompt_for(REPAIR, tokenizer_with(CHATML_TOKENS, chat_template=NEEDS_SYSTEM))
    assert prompt.before == f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n<|im_start|>user\n"
    assert prompt_for(REPAIR, chatml_tokenizer()).before.count("<|im_start|>") == 1


def test_a_template_that_always_fails_is_not_used():
    assert prompt_for(REPAIR, tokenizer_with(chat_template=REFUSES)) == prompt_of(REPAIR)


def test_a_template_of_one_turn_has_no_place_for_examples():
    prompt = prompt_for(REPAIR, tokenizer_with(CHATML_TOKENS, chat_template=ONE_TURN))
    assert prompt.before == f"<|im_start|>{INSTRUCTION}\n\n"
    assert (prompt.answered, prompt.again) == (None, None)


@pytest.mark.parametrize("marks", FAMILIES, ids=lambda marks: marks[0])
@pytest.mark.parametrize("special", [True, False])
def test_completion_with_a_suffix_uses_the_fill_in_the_middle_tokens_of_the_family(marks, special):
    tokenizer = tokenizer_with(*([marks] if special else []), unmarked=() if special else marks)
    prompt = prompt_for(COMPLETION, tokenizer, has_suffix=True)
    assert (prompt.name, prompt.before, prompt.between, prompt.after) == ("fill-in-the-middle", *marks)


def test_fill_in_the_middle_needs_a_suffix_the_task_and_all_three_tokens():
    whole, part = tokenizer_with(FAMILIES[0]), tokenizer_with(FAMILIES[0][:2])
    assert prompt_for(COMPLETION, whole).name == "plain"
    assert prompt_for(REPAIR, whole, has_suffix=True).name == "plain"
    assert prompt_for(COMPLETION, part, has_suffix=True).name == "plain"
    chat = chatml_tokenizer()
    chat.add_tokens(list(FAMILIES[0]))
    assert prompt_for(COMPLETION, chat, has_suffix=True).name == "fill-in-the-middle"
    assert prompt_for(COMPLETION, chat).name == "chat"
