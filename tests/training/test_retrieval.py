"""Code search: vectors and losses are those of plain transformers and PEFT, and training makes codes findable."""

import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer, T5EncoderModel

from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.errors import DataError
from advisor.modeling.attachment import AttachedModel
from advisor.spec import Architecture
from advisor.training.predictions import read_predictions
from advisor.training.reload import reload_check
from advisor.training.retrieval import embed, in_batch_loss, pair_loss, ranks_of_answers
from advisor.training.runner import DeviceRunner
from advisor.trial import Split, TrialSpec
from tests.training.toy import ARCHITECTURES, METHODS, SEARCHES, candidate, examples, splits

pytestmark = pytest.mark.slow  # together more than the fast part can take

BaseFolder = Callable[..., Path]
# Soft prompts do not work on an encoder-decoder's classifier either.
KINDS = [(method, "encoder-only") for method in METHODS] + [
    ("lora", "decoder-only"), ("prompt-tuning", "decoder-only"), ("full", "decoder-only"),
    ("lora", "encoder-decoder"), ("full", "encoder-decoder"),
]  # fmt: skip


@pytest.fixture
def runner() -> DeviceRunner:
    return DeviceRunner(SEARCHES, splits(SEARCHES), seed=7, device="cpu")


def by_hand(model: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """Return the vectors of texts, each read alone and so without padding."""
    found = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        found.append(model(**inputs).last_hidden_state[0, -inputs["input_ids"].shape[1] :].mean(dim=0))
    vectors = torch.stack(found)
    return vectors / vectors.norm(dim=1, keepdim=True)


def plain_model(folder: Path, architecture: Architecture) -> Any:
    model_class = T5EncoderModel if architecture == "encoder-decoder" else AutoModel
    return model_class.from_pretrained(folder).eval()


def attached_for(runner: DeviceRunner, folder: Path, architecture: Architecture) -> AttachedModel:
    return runner.attach_saved(candidate(folder, architecture), None, seed=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_is_that_of_plain_transformers_text_by_text(
    architecture: Architecture, runner: DeviceRunner, base_folder: BaseFolder
) -> None:
    folder = base_folder(architecture)
    attached = attached_for(runner, folder, architecture)
    attached.model.eval()
    rows = runner.data.rows("train", candidate(folder, architecture), attached).rows[:6]
    used = examples(SEARCHES, 24, seed=1)[:6]
    model, tokenizer = plain_model(folder, architecture), AutoTokenizer.from_pretrained(folder)
    queries = by_hand(model, tokenizer, [example.text for example in used])
    codes = by_hand(model, tokenizer, [example.text_pair or "" for example in used])
    expected = torch.nn.CrossEntropyLoss()(20 * queries @ codes.T, torch.arange(6))
    assert pair_loss(attached, rows).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_text_has_one_vector_alone_and_in_company(
    architecture: Architecture, runner: DeviceRunner, base_folder: BaseFolder
) -> None:
    folder = base_folder(architecture)
    attached = attached_for(runner, folder, architecture)
    rows = runner.data.rows_to_embed("test", candidate(folder, architecture), attached)
    together = embed(attached, rows, precision="fp32")
    np.testing.assert_allclose(together, embed(attached, rows, precision="fp32", batch_size=1), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-5)
    texts = [example.text for example in runner.data.search("test").queries]
    plain = by_hand(plain_model(folder, architecture), AutoTokenizer.from_pretrained(folder), texts)
    np.testing.assert_allclose(together[: len(texts)], plain.detach().numpy(), atol=1e-5)


def test_the_loss_of_a_batch_written_out() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    codes = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    also_right = torch.tensor([[True, False, True], [False, True, False], [True, False, True]])
    cosines = [[1.0, 0.8, 0.6], [0.0, 0.6, 0.8], [0.6, 0.96, 1.0]]
    wrong = {0: [1], 1: [0, 2], 2: [1]}  # rows 0 and 2 answer each other's query
    losses = [
        -20 * cosines[row][row] + math.log(sum(math.exp(20 * cosines[row][at]) for at in [row, *wrong[row]]))
        for row in range(3)
    ]
    assert float(in_batch_loss(queries, codes, also_right)) == pytest.approx(sum(losses) / 3, rel=1e-5)


@pytest.mark.parametrize("same", ["query", "code"])
def test_code_that_also_answers_the_query_is_no_wrong_answer(same: str, base_folder: BaseFolder) -> None:
    """Two rows alone that share a query or a code have nothing to tell apart: the loss is zero."""
    one, other = examples(SEARCHES, 2)
    shared = {"text": one.text} if same == "query" else {"text_pair": one.text_pair}
    own: Mapping[Split, Any] = {"train": (one, replace(other, **shared)), "valid": (one,)}
    runner = DeviceRunner(SEARCHES, own, seed=0, device="cpu")
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    attached = runner.attach_saved(chosen, None, seed=0)
    rows = runner.data.rows("train", chosen, attached).rows
    assert pair_loss(attached, rows).item() == 0.0
    different = DeviceRunner(SEARCHES, {"train": (one, other), "valid": (one,)}, seed=0, device="cpu")
    rows = different.data.rows("train", chosen, attached).rows
    assert pair_loss(attached, rows).item() > 0.0


def test_ranks_are_those_of_the_cosines() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8], [0.8, 0.6]], np.float32)
    # cosines of the first query with the three codes: 1, 0.6, 0.8; of the second: 0, 0.8, 0.6
    assert ranks_of_answers(vectors, [{1}, {0, 1}]) == ["[3]", "[1, 3]"]


@pytest.mark.parametrize(("method", "architecture"), KINDS, ids=["-".join(kind) for kind in KINDS])
def test_every_method_trains_and_its_saved_adapter_finds_the_same(
    method: str, architecture: Architecture, runner: DeviceRunner, base_folder: BaseFolder, tmp_path: Path
) -> None:
    chosen = candidate(base_folder(architecture), architecture, method)
    runner.start(TrialSpec(number=0, candidate=chosen, seed=3, rung_steps=(2, 4)))
    first, last = runner.advance()[0], runner.advance()[0]
    assert (first.failure, last.failure) == (None, None)
    assert set(last.metrics) == set(SEARCHES.metrics)
    assert first.train_loss != last.train_loss
    runner.save(0, tmp_path / "adapter")
    runner.stop(0)
    again = runner.evaluate(chosen, tmp_path / "adapter", "valid", seed=0, predictions=tmp_path / "valid.jsonl")
    assert again.metrics == last.metrics
    made = read_predictions(tmp_path / "valid.jsonl")
    ranks = [json.loads(item.predicted)[0] for item in made]
    assert [item.expected for item in made] == ["[1]"] * 6
    assert again.metrics["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / 6)


def test_training_makes_codes_findable(base_folder: BaseFolder) -> None:
    # Query and code share no word, so that what is found was learned.
    rows = tuple(
        Example(example_id=str(number), text=" ".join(words), text_pair=f"print({number})", target="1")
        for number, words in enumerate(itertools.combinations(("sum", "list", "return", "the", "of", "a"), 2))
    )
    runner = DeviceRunner(SEARCHES, {"train": rows, "valid": rows}, seed=0, device="cpu")
    chosen = candidate(base_folder("encoder-only"), "encoder-only", "full", learning_rate=3e-3)
    before = runner.evaluate(chosen, None, "valid", seed=0).metrics["mrr"]
    runner.start(TrialSpec(number=0, candidate=chosen, seed=0, rung_steps=(60,)))
    (report,) = runner.advance()
    assert before < 0.4
    assert report.metrics["mrr"] > 2 * before


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["encoder-only", "encoder-decoder"])
def test_a_fresh_process_finds_the_same(
    architecture: Architecture, runner: DeviceRunner, base_folder: BaseFolder, tmp_path: Path
) -> None:
    chosen = candidate(base_folder(architecture), architecture)
    runner.start(TrialSpec(number=0, candidate=chosen, seed=3, rung_steps=(4,)))
    (report,) = runner.advance()
    runner.save(0, tmp_path / "adapter")
    runner.stop(0)
    expected = runner.evaluate(chosen, tmp_path / "adapter", "test", seed=0).metrics
    check = reload_check(runner, SEARCHES, chosen, tmp_path / "adapter", expected=expected)
    assert check.passed
    assert (check.metric, check.reloaded) == ("mrr", pytest.approx(expected["mrr"]))
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == "FEATURE_EXTRACTION"
    assert report.trainable_params
    plain = PeftModel.from_pretrained(plain_model(Path(chosen.base_model), architecture), str(tmp_path / "adapter"))
    assert by_hand(plain, AutoTokenizer.from_pretrained(tmp_path / "adapter"), ["x"]).shape == (1, 32)


def test_a_codebase_makes_the_search_harder(base_folder: BaseFolder) -> None:
    own = splits(SEARCHES)
    codebase = [Code(code_id=str(number), code=f"def other{number}(): pass") for number in range(40)]
    runner = DeviceRunner(SEARCHES, own, seed=0, device="cpu", codebase=codebase)
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    attached = runner.attach_saved(chosen, None, seed=0)
    assert len(runner.data.rows_to_embed("test", chosen, attached)) == 12 + 40 + 12
    alone = DeviceRunner(SEARCHES, own, seed=0, device="cpu").evaluate(chosen, None, "test", seed=0)
    assert runner.evaluate(chosen, None, "test", seed=0).metrics["mrr"] <= alone.metrics["mrr"]


def test_trials_of_code_search_train_one_by_one(runner: DeviceRunner, base_folder: BaseFolder) -> None:
    attached = attached_for(runner, base_folder("encoder-only"), "encoder-only")
    lora = candidate(base_folder("encoder-only"), "encoder-only")
    runner.data.give_back(attached)
    runner.slots = 2
    for number in range(2):
        runner.start(TrialSpec(number=number, candidate=lora, seed=number, rung_steps=(2,)))
    for number in range(2):
        (report,) = runner.advance()
        assert (report.number, report.failure, report.pack_size) == (number, None, 1)
        runner.stop(number)


def test_fewer_validation_queries_are_asked_of_all_code(base_folder: BaseFolder) -> None:
    runner = DeviceRunner(SEARCHES, splits(SEARCHES), seed=0, device="cpu", max_eval_examples=2)
    assert len(runner.data.examples("valid")) == len(runner.data.expected("valid")) == 2
    assert len(runner.data.search("valid").codes) == 6
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    assert runner.evaluate(chosen, None, "valid", seed=0).n_examples == 2


def test_data_without_answers_is_refused() -> None:
    wrong = tuple(
        Example(example_id=row.example_id, text=row.text, text_pair=row.text_pair, target="0")
        for row in examples(SEARCHES, 2)
    )
    with pytest.raises(DataError, match="train split"):
        DeviceRunner(SEARCHES, {"train": wrong, "valid": examples(SEARCHES, 2)}, seed=0, device="cpu")
