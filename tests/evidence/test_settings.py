"""Hyperparameters as used in the evidence."""

from dataclasses import replace
from itertools import pairwise

import pytest

from advisor.catalog.tasks import find_task
from advisor.evidence.papers import Paper, read_papers
from advisor.evidence.rows import EvidenceRow, Source, read_evidence
from advisor.evidence.settings import settings

SOURCE = Source(url="https://example.org/a", locator="script", seen="repository-file")
TASK = find_task("clone-detection")


def paper(key: str, *caveats: str) -> Paper:
    return Paper(key=key, short=key, title="t", authors=(), year=2024, venue=None, url="https://a.org", in_slr=False,
                 caveats=caveats)  # fmt: skip


def row(key: str, lr: float, number: int = 1, **more: object) -> EvidenceRow:
    fields = {"task": TASK.slug, "task_kind": TASK.kind, "architecture": "encoder-only", "method": "lora", **more}
    return EvidenceRow(id=f"{key}-{number:03}", paper=key, kind="hyperparameters", finding="f", source=SOURCE,
                       hyperparameters={"lr": lr}, **fields)  # fmt: skip


def sized(key: str, lr: float, model: str | None, **more: object) -> EvidenceRow:
    return row(key, lr, model=model, **more)


def rate(*rows: EvidenceRow, **papers: Paper):
    known = {one.paper: paper(one.paper) for one in rows} | papers
    return settings(TASK, "encoder-only", ("lora",), rows, known)["lora"]["learning_rate"]


def test_one_odd_paper_does_not_move_the_centre():
    found = rate(row("a2020", 3e-4), row("b2021", 4e-4), row("c2022", 5e-4), row("d2023", 0.5))
    assert 3e-4 <= found.value <= 5e-4
    assert found.papers == 4


def test_every_paper_has_one_say_however_many_rows_it_has():
    many = [row("a2020", 1e-3, number) for number in range(1, 50)]
    assert rate(*many, *(row(f"b{n}", 2e-4) for n in range(4))).value == 2e-4


def test_a_sweep_speaks_for_its_best_run():
    sweep = {"dataset": "D", "metric": "accuracy", "model": "M", "kind": "result"}
    rows = [
        EvidenceRow(id=f"a2020-00{i}", paper="a2020", finding="f", source=SOURCE, hyperparameters={"lr": lr},
                    value=value, task=TASK.slug, task_kind=TASK.kind, architecture="encoder-only", method="ia3",
                    **sweep)
        for i, (lr, value) in enumerate([(1e-4, 50.0), (1e-3, 80.0), (1e-2, 60.0)])
    ]  # fmt: skip
    found = settings(TASK, "encoder-only", ("ia3",), rows, {"a2020": paper("a2020")})["ia3"]["learning_rate"]
    assert found.value == 1e-3


def test_a_rate_shared_by_all_methods_counts_little():
    shared = paper("a2020", "one-learning-rate")
    assert rate(row("a2020", 5e-5), row("b2021", 5e-4), a2020=shared).value > 5e-5


def test_rows_of_another_architecture_are_not_counted_as_papers():
    assert rate(row("a2020", 3e-4), row("b2021", 1e-5, architecture="decoder-only")).papers == 1


def test_rows_that_trained_the_base_model_are_left_out():
    assert rate(row("a2020", 3e-4), row("b2021", 1e-5, caveats=("unfrozen-base",))).papers == 1


def test_a_small_model_gets_the_rate_of_small_models_and_a_large_one_that_of_large():
    rows = [sized(f"small{n}", 1e-3, "roberta-base") for n in range(4)]
    rows += [sized(f"large{n}", 1e-4, "LLaMA 65B") for n in range(4)]
    found = rate(*rows)
    assert found.at(125e6) == 1e-3
    assert found.at(65e9) == pytest.approx(1e-4)
    assert [params for params, _ in found.by_size] == sorted(params for params, _ in found.by_size)
    assert found.by_size[0][1] == found.at(1.0)
    assert found.by_size[-1][1] == found.at(1e15)


def test_between_two_sizes_the_rate_lies_between_theirs():
    rows = [sized(f"small{n}", 1e-3, "roberta-base") for n in range(4)]
    rows += [sized(f"large{n}", 1e-4, "LLaMA 65B") for n in range(4)]
    found = rate(*rows)
    (left, low), (right, high) = next((one, other) for one, other in pairwise(found.by_size) if one[1] != other[1])
    assert found.at((left * right) ** 0.5) == pytest.approx((low * high) ** 0.5)


def test_a_tuned_rate_outweighs_three_that_were_only_used():
    used = [row(f"p{n}", 5e-5) for n in range(3)]
    assert rate(*used, row("hu2021lora", 1e-3)).value > 5e-5
    assert rate(*used, row("p9", 1e-3)).value == 5e-5


def cited(found, params: float) -> list[str]:
    ids, figures = found.cited_at(params)
    assert len(ids) == len(figures)
    return [id_.partition("-")[0] for id_ in ids]


def excerpted(key: str, lr: float, model: str | None = None, **more: object) -> EvidenceRow:
    return replace(sized(key, lr, model, **more), source=replace(SOURCE, excerpt=f"learning rate {lr}"))


def test_rows_to_read_about_a_rate_are_of_the_nearest_size():
    general = {"task": "general", "task_kind": "general"}
    rows = [
        excerpted("small", 1e-3, "roberta-base", **general), excerpted("middle", 5e-4, "Some-1B", **general),
        excerpted("large", 1e-4, "Some-65B", **general), excerpted("ours", 2e-4, "Other-7B"),
    ]  # fmt: skip
    found = rate(*rows)
    assert cited(found, 125e6)[:2] == ["ours", "small"]  # one on the task, then the nearest in size
    assert cited(found, 1e9)[:2] == ["ours", "middle"]
    assert cited(found, 65e9)[:2] == ["ours", "large"]
    assert found.cited_at(65e9)[1][:2] == (2e-4, 1e-4)


def test_of_several_sizes_of_one_paper_the_nearest_is_read():
    rows = [excerpted("hu2021lora", 2e-4, "Some-7B"), excerpted("hu2021lora", 1e-4, "Some-65B", number=2)]
    found = rate(*rows)
    assert found.cited_at(7e9) == (("hu2021lora-001",), (2e-4,))
    assert found.cited_at(65e9) == (("hu2021lora-002",), (1e-4,))


def test_a_recipe_is_read_before_a_score_that_holds_the_number_by_chance():
    source = replace(SOURCE, excerpt="LoRA & 0.0003 & 12.5")
    scores = replace(sized("a2020", 3e-4, "Some-7B"), kind="result", metric="BLEU", value=12.5, source=source)
    recipe = replace(excerpted("a2020", 3e-4, "Some-7B", number=2))
    assert rate(scores, recipe).cited_at(7e9) == (("a2020-002",), (3e-4,))


def test_a_hundredth_in_a_table_is_no_rate():
    source = replace(SOURCE, excerpt="CodeBLEU 0.03")
    assert rate(replace(sized("a2020", 3e-4, "Some-7B"), source=source)).cited_at(7e9) == ((), ())


def test_alpha_is_heard_as_its_ratio_to_the_rank():
    rows = [
        EvidenceRow(id=f"p{n}-001", paper=f"p{n}", kind="hyperparameters", finding="f", source=SOURCE, method="lora",
                    hyperparameters={"r": rank, "alpha": alpha}, task=TASK.slug, task_kind=TASK.kind,
                    architecture="encoder-only")
        for n, (rank, alpha) in enumerate([(8, 8), (16, 16), (64, 64)])
    ]  # fmt: skip
    found = settings(TASK, "encoder-only", ("lora", "dora"), rows, {one.paper: paper(one.paper) for one in rows})
    assert (found["lora"]["lora_alpha"].value, found["lora"]["lora_alpha"].papers) == (1.0, 3)
    assert "lora_alpha" not in found.get("dora", {})


def test_graphcodebert_on_clones_gets_a_rate_that_suits_adapters_of_small_encoders():
    """The one paper on the task used 1e-4 untuned; RoBERTa's authors of LoRA tuned theirs to 4e-4 and 5e-4."""
    found = settings(TASK, "encoder-only", ("lora",), read_evidence(), read_papers())["lora"]["learning_rate"]
    assert 3e-4 <= found.at(125e6) <= 1e-3
