"""Rows of token ids: framed as the tokenizer frames them, cut where they may be cut, free of planted control tokens."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from advisor.catalog.prompts import prompt_of
from advisor.data.examples import Example, read_examples
from advisor.errors import InputError
from advisor.spec import Architecture
from advisor.training.tokens import IGNORED, Lengths, TokenizedSplit, Tokenizing, lengths_for
from tests.data.test_examples import SHARED, needs_shared
from tests.training.toy import CLONES, COMMENTS, SUMMARIES, examples

HEADS = {"encoder-only": "sequence-classification", "decoder-only": "causal-lm", "encoder-decoder": "seq2seq-lm"}
LONG = Lengths(source=500, target=100)


@pytest.fixture(scope="module")
def tokenizers(base_folder: Callable[..., Path]) -> dict[str, PreTrainedTokenizerBase]:
    return {architecture: AutoTokenizer.from_pretrained(base_folder(architecture)) for architecture in HEADS}


def example(text: str, target: str = "1", pair: str | None = None) -> Example:
    return Example(example_id="e", text=text, text_pair=pair, target=target)


def classify(tokenizer: PreTrainedTokenizerBase, rows: list[Example], lengths: Lengths = LONG) -> TokenizedSplit:
    return Tokenizing(tokenizer, CLONES, "sequence-classification", ("0", "1")).split("train", rows, lengths)


@pytest.mark.parametrize("architecture", ["encoder-only", "encoder-decoder"])
def test_a_pair_is_framed_by_the_tokenizer(
    architecture: Architecture, tokenizers: dict[str, PreTrainedTokenizerBase]
) -> None:
    tokenizer = tokenizers[architecture]
    (row,) = classify(tokenizer, [example("int f", pair="int g")]).rows
    assert row.input_ids.tolist() == tokenizer("int f", "int g")["input_ids"]
    assert row.labels.tolist() == [1]
    assert row.prompt_length == len(row.input_ids)


def test_a_decoder_gets_a_blank_line_between_the_two_of_a_pair(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    tokenizer = tokenizers["decoder-only"]
    (row,) = classify(tokenizer, [example("int f", pair="int g")]).rows
    assert tokenizer.decode(row.input_ids, skip_special_tokens=True) == "int f\n\nint g"


def test_the_longer_of_a_pair_is_cut_first(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    tokenizer = tokenizers["encoder-only"]
    rows = [example("x " * 40, pair="return y"), example("a", pair="b")]
    split = classify(tokenizer, rows, Lengths(source=20, target=0))
    cut, whole = split.rows
    assert len(cut.input_ids) == 20
    assert "return y" in tokenizer.decode(cut.input_ids)
    assert whole.input_ids.tolist() == tokenizer("a", "b")["input_ids"]
    assert split.truncated == 1
    assert max(split.source_lengths) > 40


def test_a_causal_row_is_prompt_target_and_end_with_loss_on_target_and_end(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    tokenizer = tokenizers["decoder-only"]
    prompt = prompt_of(SUMMARIES)
    (row,) = Tokenizing(tokenizer, SUMMARIES, "causal-lm", ()).split("train", [example("int f", "Adds.")], LONG).rows
    assert tokenizer.decode(row.input_ids) == f"<s>{prompt.before}int f{prompt.after}Adds.</s>"
    assert prompt.before == "# Summarize this function in one sentence.\n"
    learned = row.labels[row.labels != IGNORED]
    assert tokenizer.decode(learned) == "Adds.</s>"
    assert row.units == len(learned) == len(row.input_ids) - row.prompt_length
    assert (row.labels[: row.prompt_length] == IGNORED).all()


def test_a_long_causal_source_loses_its_beginning_and_a_target_is_kept(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    tokenizer = tokenizers["decoder-only"]
    tokenizing = Tokenizing(tokenizer, SUMMARIES, "causal-lm", ())
    rows = [example("start " + "x " * 40 + "finish", "Return the sum.")]
    split = tokenizing.split("train", rows, Lengths(source=12, target=30))
    text = tokenizer.decode(split.rows[0].input_ids)
    assert "start" not in text
    assert "finish" in text
    assert text.endswith("Return the sum.</s>")
    assert split.truncated == 1


def test_a_target_over_the_limit_is_cut_and_not_ended(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    tokenizing = Tokenizing(tokenizers["decoder-only"], SUMMARIES, "causal-lm", ())
    (row,) = tokenizing.split("train", [example("f", "word " * 50)], Lengths(source=12, target=7)).rows
    assert row.units == 7
    assert row.input_ids[-1] != tokenizers["decoder-only"].eos_token_id


def test_an_encoder_decoder_has_source_and_target_in_their_own_frames(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    tokenizer = tokenizers["encoder-decoder"]
    tokenizing = Tokenizing(tokenizer, SUMMARIES, "seq2seq-lm", ())
    rows = [example("int f", "Adds."), example("x " * 60, "word " * 60)]
    split = tokenizing.split("train", rows, Lengths(source=20, target=9))
    short, cut = split.rows
    assert short.input_ids.tolist() == tokenizer("int f")["input_ids"]
    assert short.labels.tolist() == tokenizer("Adds.")["input_ids"]
    assert (len(cut.input_ids), len(cut.labels)) == (20, 9)
    assert cut.labels[-1] == tokenizer.eos_token_id
    assert split.truncated == 1
    assert split.source_lengths[1] == len(tokenizer("x " * 60)["input_ids"])


@pytest.mark.parametrize("architecture", HEADS)
def test_special_tokens_inside_the_data_stay_text(
    architecture: Architecture, tokenizers: dict[str, PreTrainedTokenizerBase]
) -> None:
    tokenizer = tokenizers[architecture]
    planted = example("a</s><pad><mask>b", "1" if architecture == "encoder-only" else "</s>x", pair="<s></s>")
    plain = example("a", "1" if architecture == "encoder-only" else "x", pair="b")
    task = CLONES if architecture == "encoder-only" else SUMMARIES
    tokenizing = Tokenizing(tokenizer, task, HEADS[architecture], ("0", "1"))  # type: ignore[arg-type]
    rows = tokenizing.split("train", [planted, plain], LONG).rows
    special = set(tokenizer.all_special_ids)

    def controls(ids: object) -> list[int]:
        return [number for number in ids if number in special]  # type: ignore[attr-defined]

    assert controls(rows[0].input_ids) == controls(rows[1].input_ids)
    if architecture != "encoder-only":
        assert controls(rows[0].labels) == controls(rows[1].labels)


@needs_shared
@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
def test_no_planted_control_token_of_the_hostile_file_gets_through(
    architecture: Architecture, tokenizers: dict[str, PreTrainedTokenizerBase]
) -> None:
    tokenizer = tokenizers[architecture]
    rows = read_examples(SHARED / "20-injection-strings.jsonl", SUMMARIES).examples
    assert any("</s>" in row.text for row in rows)
    tokenizing = Tokenizing(tokenizer, SUMMARIES, HEADS[architecture], ())  # type: ignore[arg-type]
    for row in tokenizing.split("train", rows, LONG).rows:
        found = [number for number in row.input_ids.tolist() if number in tokenizer.all_special_ids]
        assert len(found) <= 2  # the tokenizer's own start and end


def test_rows_are_tokenized_once_per_length(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    tokenizing = Tokenizing(tokenizers["encoder-only"], CLONES, "sequence-classification", ("0", "1"))
    rows = examples(CLONES, 5)
    assert tokenizing.split("train", rows, LONG) is tokenizing.split("train", rows, LONG)
    assert tokenizing.split("train", rows, LONG) is not tokenizing.split("valid", rows, LONG)


def test_lengths_leave_room_for_virtual_tokens_targets_and_the_frame() -> None:
    room = {"max_seq_length": 512, "max_positions": 128, "virtual_tokens": 20, "frame": 10}
    assert lengths_for(CLONES, "sequence-classification", **room).source == 108  # type: ignore[arg-type]
    assert lengths_for(SUMMARIES, "causal-lm", **room).source == 128 - 20 - 6 - 10  # type: ignore[arg-type]
    assert lengths_for(SUMMARIES, "seq2seq-lm", **{**room, "max_positions": None}).source == 512  # type: ignore[arg-type]
    with pytest.raises(InputError, match="128 positions"):
        lengths_for(CLONES, "sequence-classification", **{**room, "virtual_tokens": 125})  # type: ignore[arg-type]


def test_an_example_has_a_one_for_each_of_its_labels(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    tokenizer = tokenizers["encoder-only"]
    sets = [("Usage",), (), ("Parameters", "Usage")]
    rows = [
        Example(example_id="e", text="a comment", text_pair=None, target=", ".join(labels), labels=labels)
        for labels in sets
    ]
    tokenizing = Tokenizing(tokenizer, COMMENTS, "sequence-classification", ("Deprecation", "Parameters", "Usage"))
    found = tokenizing.split("train", rows, LONG).rows
    assert [row.labels.tolist() for row in found] == [[0, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert found[0].input_ids.tolist() == tokenizer("a comment")["input_ids"]
    assert [row.units for row in found] == [3, 3, 3]  # the mean loss is over all decisions
