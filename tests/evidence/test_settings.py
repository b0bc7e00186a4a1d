"""Hyperparameters as used in the evidence."""

from advisor.catalog.tasks import find_task
from advisor.evidence.papers import Paper
from advisor.evidence.rows import EvidenceRow, Source
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


def rate(*rows: EvidenceRow, **papers: Paper):
    known = {one.paper: paper(one.paper) for one in rows} | papers
    return settings(TASK, "encoder-only", ("lora",), rows, known)["lora"]["learning_rate"]


def test_one_odd_paper_does_not_move_the_centre():
    found = rate(row("a2020", 3e-4), row("b2021", 4e-4), row("c2022", 5e-4), row("d2023", 0.5))
    assert 3e-4 <= found.value <= 5e-4
    assert found.papers == 4


def test_every_paper_has_one_say_however_many_rows_it_has():
    many = [row("a2020", 1e-3, number) for number in range(1, 50)]
    assert rate(*many, row("b2021", 2e-4), row("c2022", 2e-4)).value == 2e-4


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
