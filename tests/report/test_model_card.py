"""The model card: the hub's own library reads it back; nothing in it is markup from outside."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from advisor.errors import DataError
from advisor.report import write_model_card
from advisor.result import SeedResult
from tests.report import fixtures
from tests.report.test_markdown import kinds


def written(tmp_path, run=None):
    folder = fixtures.write_run(tmp_path, run)
    (folder / "best_adapter").mkdir()
    return write_model_card(folder)


def card(tmp_path, run=None):
    return ModelCard.load(written(tmp_path, run))


def finished_with(of, **changes):
    return fixtures.run_folder(result=replace(fixtures.result(best=of), **changes))


def test_the_hub_s_library_reads_task_base_model_and_metric(tmp_path):
    data = card(tmp_path).data
    assert (data.base_model, data.library_name, data.pipeline_tag) == (
        "test-org/tiny-code-encoder", "peft", "text-classification",
    )  # fmt: skip
    assert (data.language, data.base_model_relation) == ("code", "adapter")
    assert {"lora", "clone-detection"} <= set(data.tags)


@pytest.mark.parametrize(("method", "needs"), [("lora", False), ("mam", True)])
def test_the_card_says_when_peft_alone_cannot_load_the_adapter(tmp_path, method, needs):
    text = card(tmp_path, finished_with(fixtures.candidate(method=method))).text
    assert ("PEFT does not ship Mix-and-match adapter (MAM): it is loaded by" in text) == needs
    assert ("\nimport advisor.modeling.tuners" in text) == needs


def test_the_model_index_has_every_metric_of_the_test_split_the_primary_one_first(tmp_path):
    result = fixtures.result()
    *others, best = result.contenders
    metrics = {"accuracy": 0.863, "f1": 0.843, "mcc": 0.71}
    result = replace(result, contenders=(*others, replace(best, evaluation=replace(best.evaluation, metrics=metrics))))
    data = card(tmp_path, fixtures.run_folder(result=result)).data
    assert [(one.metric_type, one.metric_value) for one in data.eval_results] == [
        ("f1", 0.843), ("accuracy", 0.863), ("matthews_correlation", 0.71),
    ]  # fmt: skip
    assert {(one.dataset_split, one.task_type) for one in data.eval_results} == {("test", "text-classification")}
    assert data.metrics == ["f1", "accuracy", "matthews_correlation"]


def test_several_seeds_are_named_and_the_index_has_the_metrics_of_the_saved_one(tmp_path):
    found = card(tmp_path, fixtures.run_folder(result=fixtures.seeded_result()))
    # Of seeds 7, 8, 9 the first is the best on the validation split (0.865), with 0.843 on the test split.
    assert found.data.eval_results[0].metric_value == 0.843
    assert "The saved adapter is that of seed 7" in found.text
    assert "- Seeds: `7, 8, 9`" in found.text
    assert "| best trial | 0.843 | 0.853 | 0.833 |" in found.text.replace("**", "")


def test_metrics_have_intervals_where_the_predictions_are_on_record(tmp_path):
    made = fixtures.predictions(5)  # 8 of 40 are wrong: accuracy 0.8
    result = fixtures.result()
    metrics = {"f1": 0.8, "accuracy": 0.8}
    rows = tuple(
        replace(row, evaluation=replace(row.evaluation, metrics=metrics, n_examples=40)) for row in result.contenders
    )
    run = fixtures.run_folder(result=replace(result, contenders=rows), predictions={"best-trial": made})
    text = card(tmp_path, run).text
    # Exact binomial interval of 32 of 40 (Clopper and Pearson): 0.644 to 0.909; the bootstrap's lies within a step.
    (low, high), *_ = re.findall(
        r"best trial \(trial 9\)\*\* \| 0\.800 \((0\.\d+) to (0\.\d+)\)", text.replace("\xa0", " ")
    )
    assert (float(low), float(high)) == pytest.approx((0.644, 0.909), abs=0.05)


def test_it_says_how_a_baseline_answers_and_what_was_found_in_the_data(tmp_path):
    result = fixtures.result()
    first, *others = result.contenders
    first = replace(first, evaluation=replace(first.evaluation, note="says the commonest label"))
    run = fixtures.run_folder(result=replace(result, contenders=(first, *others)), data_report=fixtures.data_report())
    found = card(tmp_path, run)
    assert "untuned base model: says the commonest label" in found.text
    assert "- warning: 10 of 400 test rows stand in the train split too" in found.text
    assert "test 7" not in found.text  # a row of the user's data
    assert "java" in found.data.tags


def test_it_says_how_large_the_adapter_is_and_how_much_was_trained(tmp_path):
    folder = fixtures.write_run(tmp_path / "run", small_base(tmp_path))
    (folder / "best_adapter").mkdir()
    save_file(
        {"a": np.zeros((30, 40), "float32"), "b": np.zeros(5, "float32")},
        folder / "best_adapter/adapter_model.safetensors",
    )
    text = write_model_card(folder).read_text(encoding="utf-8")
    assert "Parameters in the adapter: 1,205" in text
    # 888,578 parameters in every report of the fixtures, 1,777,156 in the base model's file.
    assert "Trained parameters, head included: 888,578 (50 % of the base model's 1,777,156)" in text


def small_base(tmp_path):
    """Return a run on a base model whose file has twice as many parameters as were trained."""
    base = tmp_path / "a-base"
    base.mkdir()
    config = {"model_type": "roberta", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 16, "vocab_size": 50, "max_position_embeddings": 40, "pad_token_id": 1}  # fmt: skip
    (base / "config.json").write_text(json.dumps(config))
    save_file({"w": np.zeros(2 * 888_578, "float16")}, base / "model.safetensors")
    return finished_with(fixtures.candidate(base_model=str(base)))


def test_it_says_how_to_load_the_adapter_and_how_good_the_baselines_are(tmp_path):
    text = card(tmp_path).text
    assert "AutoPeftModelForSequenceClassification.from_pretrained(folder" in text
    for said in ("untuned base model | 0.441", "majority class | 0.656", "one seed", "`0.00011352`"):
        assert said in text


def with_threshold(result, threshold):
    *others, best = result.contenders
    seed = SeedResult(seed=7, validation=0.8, evaluation=replace(best.evaluation, threshold=threshold))
    return replace(result, contenders=(*others, replace(best, seeds=(seed,))))


def test_it_says_from_which_probability_on_an_answer_is_given(tmp_path):
    result = with_threshold(fixtures.result(), 0.3125)
    text = card(tmp_path, fixtures.run_folder(result=result)).text
    assert "says the second label when its probability (softmax) is at least 0.312" in text
    assert "share >= 0.3125" in text
    several = replace(result, task="code-comment-classification")
    assert "says every label whose probability" in card(tmp_path / "b", fixtures.run_folder(result=several)).text
    assert "probability (" not in card(tmp_path / "c").text


@pytest.mark.parametrize(
    ("architecture", "tag"), [("decoder-only", "text-generation"), ("encoder-decoder", "text2text-generation")]
)
def test_a_generator_has_the_tag_of_its_architecture(tmp_path, architecture, tag):
    run = finished_with(fixtures.candidate(architecture=architecture), task="code-summarization")
    assert card(tmp_path, run).data.pipeline_tag == tag


def test_full_fine_tuning_is_a_model_of_transformers(tmp_path):
    data = card(tmp_path, finished_with(fixtures.candidate(method="full"))).data
    assert (data.library_name, data.base_model_relation) == ("transformers", "finetune")


def test_folders_of_the_user_s_machine_stay_out_of_it(tmp_path):
    of = fixtures.candidate(base_model="/home/somebody/models/my-base")
    data = {s: replace(f, path=f"/home/somebody/{s}.jsonl") for s, f in fixtures.result().data.items()}
    run = finished_with(of, data=data)
    run = replace(run, trials=tuple(replace(t, candidate=of) for t in run.trials))
    found = card(tmp_path, run)
    assert not hasattr(found.data, "base_model_relation")
    assert "has to name theirs in adapter\\_config.json" in found.text
    assert "somebody" not in found.content
    assert "my-base" in found.text
    assert found.data.base_model is None


def test_a_base_model_that_the_adapter_names_as_a_folder_is_no_id_of_the_hub(tmp_path):
    of = fixtures.candidate(base_model="bases/tiny")
    folder = fixtures.write_run(tmp_path, finished_with(of))
    (folder / "best_adapter").mkdir()
    (folder / "best_adapter/adapter_config.json").write_text('{"base_model_name_or_path": "/home/somebody/bases/tiny"}')
    found = ModelCard.load(write_model_card(folder))
    assert found.data.base_model is None
    assert "- Base model: `tiny`" in found.text
    assert "somebody" not in found.content


def test_hostile_text_stays_text_in_front_matter_and_body(tmp_path):
    path = written(tmp_path, fixtures.hostile_run())
    content = path.read_text(encoding="utf-8")
    _, front, body = content.split("---\n", 2)
    plain = yaml.safe_load(front)  # refuses tags that make objects
    assert set(plain) == {"language", "library_name", "metrics", "pipeline_tag", "tags", "model-index"}
    assert not kinds(body) & {"html_block", "html_inline", "image", "link_open"}


def test_an_unfinished_study_has_no_card(tmp_path):
    with pytest.raises(DataError, match="not finished"):
        written(tmp_path, fixtures.run_folder(result=None))


def test_a_run_without_adapter_has_no_card(tmp_path):
    with pytest.raises(DataError, match="no best_adapter"):
        write_model_card(fixtures.write_run(tmp_path))
