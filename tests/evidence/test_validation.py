"""The validator of the knowledge files: it passes what is there and catches each kind of slip."""

import copy

import pytest

from advisor.catalog.files import knowledge_folder, read_rows
from advisor.evidence import validation


def first(file: str, /, **having: object) -> dict[str, object]:
    rows = (row for row in read_rows(file) if all(row.get(key) == value for key, value in having.items()))
    return copy.deepcopy(next(rows))


def test_the_knowledge_files_are_sound():
    assert validation.problems(knowledge_folder()) == []


RESULT = first("evidence.jsonl", id="hu2021lora-019")
PAPERS = {"hu2021lora"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "hu2021lora-19"}, "id must be"),
        ({"paper": "nobody2020"}, "not in papers.jsonl"),
        ({"kind": "rumour"}, "kind 'rumour' is not one of"),
        ({"task": "cooking"}, "not in the catalogue"),
        ({"task_kind": "generative"}, "task_kind 'generative' is not that of general"),
        ({"architecture": "recurrent"}, "architecture 'recurrent'"),
        ({"method": "LoRA!"}, "is not a slug"),
        ({"finding": " "}, "finding: missing"),
        ({"source": None}, "source: missing"),
        ({"source": {**RESULT["source"], "url": "stored file 123"}}, "is not an address"),
        ({"source": {**RESULT["source"], "seen": "hearsay"}}, "source.seen 'hearsay'"),
        ({"source": {**RESULT["source"], "excerpt": ""}}, "excerpt: missing"),
        ({"value": 130.0}, "above 100"),
        ({"value": "high"}, "value must be a number"),
        ({"value": -1}, "value must be a number"),
        ({"metric": None}, "value without a metric"),
        ({"metric": "plausible patches, of 40 bugs"}, "above 40"),
        ({"higher_is_better": None}, "higher_is_better"),
        ({"trainable_pct": 101}, "trainable_pct"),
        ({"hyperparameters": {"lr": 3}}, "hyperparameters.lr"),
        ({"hyperparameters": {"lr": 0.0}}, "hyperparameters.lr"),
        ({"hyperparameters": {"dropout": 5}}, "hyperparameters.dropout"),
        ({"hyperparameters": {"r": 0}}, "hyperparameters.r"),
        ({"resources": {"peak_memory_bytes": -5}}, "must be positive"),
        ({"caveats": ["made-up"]}, "caveats: 'made-up'"),
        ({"outcomes": [{"method": "lora", "versus": "full", "outcome": "great"}]}, "outcomes.outcome"),
        ({"outcomes": [{"method": "lora", "versus": "", "outcome": "better"}]}, "versus: missing"),
    ],
)  # fmt: skip
def test_a_broken_row_of_evidence_is_caught(change, said):
    assert list(validation.check_evidence(RESULT, PAPERS)) == []
    found = list(validation.check_evidence({**RESULT, **change}, PAPERS))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": ""}, "title: missing"),
        ({"short": None}, "short: missing"),
        ({"year": 20233}, "year"),
        ({"url": "arxiv 2106"}, "not an address"),
        ({"in_slr": "perhaps"}, "in_slr"),
        ({"caveats": None}, "caveats must be a list"),
    ],
)
def test_a_broken_paper_is_caught(change, said):
    paper = first("papers.jsonl")
    assert list(validation.check_paper(paper)) == []
    assert any(said in problem for problem in validation.check_paper({**paper, **change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"params": 100}, "params must be a number"),
        ({"params": 999_000_000}, "do not agree with the sizes"),
        ({"config": {}}, "config:"),
        ({"architecture": "decoder"}, "architecture 'decoder'"),
        ({"traits": ["slow"]}, "traits: 'slow'"),
        ({"context_length": -1}, "context_length"),
        ({"released": "last year"}, "is not a month"),
        ({"unverified_fields": ["colour"]}, "no field colour"),
    ],
)
def test_a_broken_model_is_caught(change, said):
    model = first("models.jsonl", hf_id="microsoft/codebert-base")
    assert list(validation.check_model(model)) == []
    assert any(said in problem for problem in validation.check_model({**model, **change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vram_gb": 0}, "vram_gb"),
        ({"vram_usable_gib": 500}, "vram_usable_gib"),
        ({"vendor": "acme"}, "vendor 'acme'"),
        ({"supports_bf16": "yes"}, "supports_bf16"),
        ({"memory_bandwidth_gb_s": -3}, "memory_bandwidth_gb_s"),
        ({"fp32_tflops": 0}, "fp32_tflops"),
        ({"aliases": ["T4"]}, "lower case"),
        ({"source": {}}, "source: missing"),
    ],
)
def test_a_broken_gpu_is_caught(change, said):
    gpu = first("gpus.jsonl", name="Tesla T4")
    assert list(validation.check_gpu(gpu)) == []
    assert any(said in problem for problem in validation.check_gpu({**gpu, **change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hf_id": "nobody/model"}, "not in models.jsonl"),
        ({"regime": "guessed"}, "regime 'guessed'"),
        ({"unit": "metres"}, "unit 'metres'"),
        ({"value": 120.0}, "value must be a number from 0 to 100"),
        ({"comparable_group": ""}, "comparable_group: missing"),
        ({"source": {"locator": "p. 1", "excerpt": "x"}}, "neither repo_path nor url"),
    ],
)
def test_a_broken_capability_is_caught(change, said):
    row = first("capabilities.jsonl", unit="percent")
    models = {row["hf_id"]}
    assert list(validation.check_capability(row, models)) == []
    assert any(said in problem for problem in validation.check_capability({**row, **change}, models))


def test_repeated_ids_and_aliases_are_caught(tmp_path):
    for name in ("papers", "evidence", "models", "gpus", "capabilities"):
        text = (knowledge_folder() / f"{name}.jsonl").read_text(encoding="utf-8")
        first_line = text.splitlines(keepends=True)[0]
        (tmp_path / f"{name}.jsonl").write_text(text + first_line, encoding="utf-8")
    found = "\n".join(validation.problems(tmp_path))
    assert "papers: key" in found
    assert "evidence: id" in found
    assert "models: hf_id" in found
    assert "gpus: alias" in found
