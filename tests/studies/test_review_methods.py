"""The review's methods: every row is reached as the table says, and one run per row, once."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from advisor.catalog.methods import resolve_method
from advisor.catalog.tasks import find_task
from advisor.catalog.taxonomy import read_taxonomy
from advisor.cli.tune import command
from advisor.demo import base_model_path
from studies.review_methods import run as study
from studies.review_methods.bases import write_with_biases
from studies.review_methods.jobs import SECOND, SETTINGS, Job, all_jobs, digests_of, part_of, read_params, setting_of
from studies.review_methods.loss import loss_on
from studies.review_methods.methods import METHODS
from studies.review_methods.records import Measured, Run, append_run, read_runs
from studies.review_methods.table import main_table, shown_metric
from studies.review_methods.training import candidate_of, place_of

PARAMS = read_params(smoke=True)
JOBS = all_jobs(PARAMS)
BODY = "def f{0}(a, b):\n    c = a * {0} + b\n    return c if c > {0} else b - {0}"


def write_data(data: Path) -> Path:
    """Write rows that look like those of the datasets, a few of each split."""
    sizes = {"train": 24, "valid": 16, "test": 12}
    for name in PARAMS["settings"]:
        setting = setting_of(name, PARAMS)
        folder = data / setting.dataset
        folder.mkdir(parents=True)
        form = find_task(setting.task).form
        for split, size in sizes.items():
            first = list(sizes).index(split) * 100
            codes = [BODY.format(first + number) for number in range(size)]
            rows = {
                "pair": [{"code1": one, "code2": one, "label": n % 2} for n, one in enumerate(codes)],
                "single": [{"code": one, "label": n % 2} for n, one in enumerate(codes)],
                "generation": [{"source": one, "target": f"Return the number {n}."} for n, one in enumerate(codes)],
            }[form]  # fmt: skip
            lines = (json.dumps({"id": f"{split}-{n}", **row}) for n, row in enumerate(rows))
            (folder / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return data


def a_run(row: str = "Base LoRA", **values: object) -> Run:
    known = {"metrics": {"f1": Measured(value=0.5, low=0.25, high=0.75)}, "params": "one", **values}
    return Run(
        row=row, setting="clone-detection", dataset="clone-detection/any", base_model="encoder", command="", **known
    )  # fmt: skip


def test_the_rows_are_the_18_methods_of_the_review_and_what_is_missing_has_a_reason():
    named = [one.review for one in read_taxonomy().methods if one.review is not None]
    assert len(named) == 18
    assert sorted(method.review for method in METHODS) == sorted(named)
    assert study.reasons().keys() == {"Pass-Tuning"}
    assert all(study.reasons().values())


@pytest.mark.parametrize("method", [one for one in METHODS if one.is_offered], ids=lambda one: one.review)
def test_the_options_of_a_row_are_options_of_the_command(method):
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in method.options.split() if word.startswith("--")} <= known


@pytest.mark.parametrize("job", [job for job in JOBS if job.method is not None], ids=lambda job: job.name)
def test_a_method_is_what_tune_would_try_first_at_ten_times_the_catalogue_s_rate(job, tmp_path):
    place = place_of(setting_of(job.setting, PARAMS), write_data(tmp_path / "data"), base_of(job, tmp_path), PARAMS)
    wanted, quantization = resolve_method(job.method)
    candidate = candidate_of(job, place, ())
    assert (candidate.method, candidate.quantization) == (wanted.slug, quantization)
    rate = wanted.hyperparameters(candidate.architecture)["learning_rate"]
    assert candidate.hyperparameters["learning_rate"] == pytest.approx(10 * rate)
    assert (candidate.batch_size, candidate.max_seq_length, candidate.precision) == (4, 48, "fp32")


def base_of(job: Job, work: Path) -> Path:
    if job.base == "shipped":
        return base_model_path(setting_of(job.setting, PARAMS).architecture)
    write_with_biases(base_model_path("decoder-only"), work / "biased")
    return work / "biased"


def test_what_others_stand_on_comes_before_them_in_every_part_and_each_job_is_in_one():
    for n_parts in (1, 2, 3):
        parts = [part_of(JOBS, number, n_parts) for number in range(n_parts)]
        assert sorted(job.name for part in parts for job in part) == sorted(job.name for job in JOBS)
        for part in parts:
            names = [job.name for job in part]
            assert all(name in names[: names.index(job.name)] for job in part for name in job.below)
    fusions = [job for job in JOBS if job.composition == "fusion"]
    assert [len(job.below) for job in fusions] == [2, 2]
    assert all(job.below[1].startswith(SECOND) for job in fusions)


def test_a_cut_line_and_a_run_of_other_sizes_are_no_runs_and_the_last_of_two_counts(tmp_path):
    path = tmp_path / "runs.jsonl"
    digests = {a_run().name: "one", a_run("QLoRA").name: "one", a_run("MAM").name: "one"}
    assert read_runs(path, digests) == {}
    append_run(path, a_run(failure="out of memory", metrics={}))
    append_run(path, a_run())
    append_run(path, a_run("QLoRA", params="two"))
    with path.open("a") as file:
        file.write('{"row": "MAM", "sett')
    assert read_runs(path, digests) == {a_run().name: a_run()}


def test_other_sizes_below_make_other_runs_of_what_stands_on_them_alone():
    changed = json.loads(json.dumps(PARAMS))
    changed["settings"]["defects"]["n_steps"] += 1
    old, new = digests_of(PARAMS), digests_of(changed)
    assert {name for name in old if old[name] != new[name]} == {
        f"{SECOND} / defects", "L-Adapter + NER-Adapter + AdapterFusion / clone-detection"
    }  # fmt: skip


def test_the_decoder_with_biases_computes_what_the_decoder_computes_and_has_biases(tmp_path):
    write_with_biases(base_model_path("decoder-only"), tmp_path / "biased")
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "biased").eval()
    shipped = AutoModelForCausalLM.from_pretrained(base_model_path("decoder-only")).eval()
    text = AutoTokenizer.from_pretrained(tmp_path / "biased")("def f(x):\n    return x", return_tensors="pt")
    biases = [name for name, _ in ours.named_parameters() if name.endswith("bias")]
    assert len(biases) == 3 * shipped.config.num_hidden_layers
    with torch.no_grad():
        torch.testing.assert_close(ours(**text).logits, shipped(**text).logits)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_loss_is_the_models_own_over_all_rows(name, tmp_path):
    job = Job(row="any", setting=name, method="full")
    place = place_of(setting_of(name, PARAMS), write_data(tmp_path), base_of(job, tmp_path), PARAMS)
    candidate = candidate_of(job, place, ())
    attached = place.runner.attach_saved(candidate, None, seed=0)
    rows = place.runner.data.rows("test", candidate, attached).rows
    losses = []
    for row in rows:
        given = {"input_ids": torch.tensor([row.input_ids.tolist()]), "labels": torch.tensor([row.labels.tolist()])}
        if row.token_type_ids is not None:
            given["token_type_ids"] = torch.tensor([row.token_type_ids.tolist()])
        attached.model.eval()
        with torch.no_grad():
            losses.append(float(attached.model(**given).loss) * row.units)
    found = loss_on(attached, rows, seed=0)
    assert found is not None
    assert found.value == pytest.approx(sum(losses) / sum(row.units for row in rows), rel=1e-5)
    assert found.low < found.value < found.high


def test_no_loss_is_told_of_rows_whose_labels_training_never_saw(tmp_path):
    job = Job(row="any", setting="clone-detection", method="full")
    place = place_of(setting_of(job.setting, PARAMS), write_data(tmp_path), base_of(job, tmp_path), PARAMS)
    attached = place.runner.attach_saved(candidate_of(job, place, ()), None, seed=0)
    rows = place.runner.data.rows("test", candidate_of(job, place, ()), attached).rows
    for row in rows:
        row.labels[:] = -100
    assert loss_on(attached, rows, seed=0) is None


def test_the_table_has_a_line_for_every_method_and_says_what_is_not_there():
    settings = {name: setting_of(name, PARAMS) for name in PARAMS["settings"]}
    trained = a_run(train_s=12.4, trainable_params=5, total_params=200)
    failed = a_run("MAM", failure="it burst", metrics={})
    table = main_table({one.name: one for one in (trained, failed)}, JOBS, settings, {"Pass-Tuning": "of a reason"})
    lines = table.splitlines()
    assert sum(line.startswith("| ") for line in lines) == 1 + 18 + 5
    assert "| Base LoRA | `--method lora` | 0.500 [0.250, 0.750]; 12 s, 2.5 % | not run |" in lines
    assert "| MAM | `--method mam` | failed: it burst | not run |" in lines
    assert "| Pass-Tuning | not offered, because of a reason | — | — |" in lines


def test_a_large_metric_has_fewer_digits():
    assert shown_metric(Measured(value=9.5, low=8.25, high=11)) == "9.50 [8.25, 11.00]"


def told(work: Path) -> list[Run]:
    return list(study.known_runs(work, PARAMS).values())


@pytest.mark.slow
def test_a_stack_is_trained_on_the_adapter_below_it_once_and_put_into_the_table(tmp_path: Path):
    data, work = write_data(tmp_path / "data"), tmp_path / "work"
    asked = [str(data), "--work", str(work), "--smoke"]
    study.main([*asked, "--methods", "L-Adapter + T-Adapter", "majority class"])
    runs = told(work)
    assert [(one.row, one.setting) for one in runs] == [
        ("majority class", "clone-detection"),
        ("L-Adapter", "python-pairs"), ("L-Adapter + T-Adapter", "clone-detection"),
        ("L-Adapter", "python"), ("L-Adapter + T-Adapter", "code-summarization"),
    ]  # fmt: skip
    assert [one.failure for one in runs] == [None] * 5
    stack = runs[2]
    # Four layers, each with a bottleneck of 128 / 16 features and its biases; and the head of RoBERTa for two classes.
    assert stack.trainable_params == 4 * (2 * 128 * 8 + 8 + 128) + (128 * 128 + 128 + 128 * 2 + 2)
    assert stack.n_steps == 2
    assert stack.learning_rate == pytest.approx(10 * 5e-4)
    assert stack.estimated_bytes == pytest.approx(stack.live_bytes, rel=0.05)
    before = (work / "runs.jsonl").read_bytes()
    study.main([*asked, "--methods", "L-Adapter + T-Adapter", "majority class"])
    assert (work / "runs.jsonl").read_bytes() == before
    study.main([*asked, "--collect", "--results", str(tmp_path / "results")])
    assert len((tmp_path / "results" / "runs.jsonl").read_text().splitlines()) == 5
    assert "| L-Adapter + T-Adapter | `--on-adapter DIR`; " in (tmp_path / "results" / "table.md").read_text()
    assert "processor" in json.loads((tmp_path / "results" / "machine.json").read_text())


@pytest.mark.slow
def test_a_failure_is_a_line_that_is_tried_again_and_4_bits_wait_for_their_library(tmp_path: Path, monkeypatch, capsys):
    data, work = write_data(tmp_path / "data"), tmp_path / "work"
    asked = [str(data), "--work", str(work), "--smoke", "--methods", "Prompt Tuning", "QLoRA"]
    monkeypatch.setattr(study, "has_four_bits", lambda: False)

    def refuse(*_: object) -> None:
        raise RuntimeError("no\nmemory")

    with monkeypatch.context() as broken:
        broken.setattr(study, "train", refuse)
        study.main(asked)
    assert [(one.row, one.failure) for one in told(work)] == [("Prompt Tuning", "RuntimeError: no memory")] * 2
    assert capsys.readouterr().err.count("needs bitsandbytes") == 2
    study.main(asked)
    assert [(one.row, one.failure) for one in told(work)] == [("Prompt Tuning", None)] * 2


def test_a_name_that_is_no_row_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        study.main([str(tmp_path), "--work", str(tmp_path), "--methods", "LoRA"])
    assert "LoRA is none of untuned base model" in capsys.readouterr().err
