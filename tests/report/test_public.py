"""A run as others may see it: folders are recognised and shortened, addresses and code are left alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from advisor import records
from advisor.report.public import (
    folders_in,
    found_base_model,
    is_local,
    named_base_model,
    public_name,
    public_run,
    without_folders,
)
from tests.report import fixtures

NOWHERE = Path("no-adapter")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tune --data /home/ann/data/clones --output=/mnt/x/run", "tune --data clones --output=run"),
        ("could not read '/home/ann/models/base/config.json': gone", "could not read 'config.json': gone"),
        ("~/models/base", "base"),
        ("on C:\\Users\\ann\\models\\base, fp32", "on base, fp32"),
        ("\\\\server\\share\\models\\base", "base"),
        (r"C:\\Users\\ann\\base in Markdown", "base in Markdown"),
    ],
)
def test_a_folder_becomes_its_last_name(text, said):
    assert without_folders(text) == said
    assert folders_in(text)
    assert not folders_in(said)


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/owner/name/blob/main/run.sh",
        "owner/name",
        "microsoft/codebert-base and a/b/c",
        "</td></tr>",
        "1/2 and 3/4, km/h/s",
        "// a comment /* and another */",
        "data/train.jsonl",
        "-- /help",
        r"| h \\\\| \\\\ x",
        r"ids('Q:\n')",
        "F1 0.939 on 400 examples: 0.058 above",
    ],
)
def test_addresses_fractions_and_relative_names_stay(text):
    assert without_folders(text) == text
    assert folders_in(text) == ()


def test_a_base_model_is_local_when_it_is_no_hub_id(tmp_path):
    assert [is_local(name) for name in (str(tmp_path), "./x", "~/x", "/nowhere/x", "a/b/c", "C:\\x")] == [True] * 6
    assert [is_local(name) for name in ("Salesforce/codet5p-220m", "gpt2-of-nobody")] == [False] * 2
    assert (public_name("/nowhere/x"), public_name("Salesforce/codet5p-220m")) == ("x", "Salesforce/codet5p-220m")


def test_no_record_of_a_public_run_names_a_folder():
    here = "/home/ann/work"
    of = fixtures.candidate(base_model=f"{here}/models/my-base")
    failure = fixtures.TrialFailure(kind="error", message=f"OSError: {here}/models/my-base/model.bin: No space left")
    trials = (*fixtures.trials()[:13], fixtures.trial(13, (0.4,), state="failed", of=of, failure=failure))
    result = replace(
        fixtures.result(best=of),
        command=f"peft-advisor tune --data {here}/data --base-model {here}/models/my-base",
        data={name: replace(facts, path=f"{here}/data/{name}.jsonl") for name, facts in fixtures.result().data.items()},
    )
    run = fixtures.run_folder(
        recommendation=fixtures.recommendation(of), trials=trials, result=result,
        data_report=fixtures.data_report(f"{here}/data/all.csv"),
    )  # fmt: skip
    shown = public_run(run, NOWHERE)
    for record in (shown.recommendation, *shown.trials, shown.result, replace(shown.data_report, splits={})):
        assert "/home" not in records.dumps(record)
    assert shown.result.command == "peft-advisor tune --data data --base-model my-base"
    assert shown.trials[13].failure.message == "OSError: model.bin: No space left"
    assert shown.data_report.splits["test"].path == "all.csv"
    assert shown.result.contenders[3].candidate == replace(of, base_model="my-base")


def test_a_relative_base_model_that_is_a_folder_loses_its_folders_wherever_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "models/inner/tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    of = fixtures.candidate(base_model="models/inner/tiny")
    said = fixtures.Reason(choice="base model", text="models/inner/tiny was asked for", evidence=())
    shown = public_run(fixtures.run_folder(recommendation=fixtures.recommendation(of, reasons=[said])), NOWHERE)
    assert shown.recommendation.candidates[0].reasons[0].text == "tiny was asked for"


def test_a_base_model_that_looks_like_an_id_is_local_where_the_adapter_names_a_folder(tmp_path):
    of = fixtures.candidate(base_model="bases/tiny")
    result = fixtures.result(best=of)
    run = fixtures.run_folder(recommendation=fixtures.recommendation(of), result=result)
    config = {"base_model_name_or_path": "/home/ann/bases/tiny"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert found_base_model("bases/tiny", tmp_path) == "/home/ann/bases/tiny"
    shown = public_run(run, tmp_path)
    assert shown.recommendation.candidates[0].base_model == "tiny"
    assert shown.result.contenders[3].candidate.base_model == "tiny"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"base_model_name_or_path": null}', None])
def test_an_adapter_that_names_no_base_model_changes_nothing(tmp_path, content):
    if content is not None:
        (tmp_path / "adapter_config.json").write_text(content)
    assert named_base_model(tmp_path) is None
    assert found_base_model("org/base", tmp_path) == "org/base"


def test_a_run_without_folders_is_what_it_was():
    run = fixtures.run_folder(result=fixtures.seeded_result())
    shown = public_run(run, NOWHERE)
    assert shown.trials == run.trials
    assert replace(shown.result, data=run.result.data) == run.result
