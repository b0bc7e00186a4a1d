"""Contests between methods are read from rows of one set-up only."""

from dataclasses import replace

import pytest

from advisor.evidence.contests import method_contests, points
from advisor.evidence.papers import Paper
from advisor.evidence.rows import EvidenceRow, Outcome, Source

SOURCE = Source(url="https://example.org/a", locator="table 1", seen="repository-file")
PAPERS = {"some2024": Paper(key="some2024", short="Some 2024", title="t", authors=(), year=2024, venue=None,
                            url="https://example.org", in_slr=False)}  # fmt: skip


def row(number: int, method: str, value: float | None = None, **more: object) -> EvidenceRow:
    fields = {"metric": "accuracy", "model": "M", "dataset": "D", "architecture": "encoder-only", **more}
    return EvidenceRow(
        id=f"some2024-{number:03}", paper="some2024", kind="result", task="clone-detection",
        task_kind="non-generative", finding="f", source=SOURCE, method=method, value=value, **fields,
    )  # fmt: skip


def test_two_methods_of_one_set_up_meet():
    (found,) = method_contests([row(1, "lora", 91.0), row(2, "ia3", 89.0)], PAPERS)
    assert (found.method, found.rival) == ("ia3", "lora")
    assert found.outcome == pytest.approx(0.25)
    assert found.evidence == (("some2024-002",), ("some2024-001",))


@pytest.mark.parametrize("change", [{"metric": "F1"}, {"model": "N"}, {"dataset": "E"}, {"language": "Java"},
                                    {"hyperparameters": {"train_samples": 100}}])  # fmt: skip
def test_rows_of_different_set_ups_never_meet(change):
    assert method_contests([row(1, "lora", 91.0), row(2, "ia3", 89.0, **change)], PAPERS) == ()


def test_full_fine_tuning_named_as_a_baseline_takes_part():
    (found,) = method_contests([row(1, "lora", 0.91, baseline_full=0.95)], PAPERS)
    assert {found.method, found.rival} == {"full", "lora"}
    assert found.outcome == pytest.approx(1.0)  # fractions are read as points of 100: 95 against 91


def test_qlora_counts_as_lora():
    (found,) = method_contests([row(1, "qlora", 91.0), row(2, "full", 91.0)], PAPERS)
    assert {found.method, found.rival} == {"full", "lora"}


@pytest.mark.parametrize("caveat", ["unfrozen-base", "unparsable-output", "search-stage"])
def test_rows_known_to_be_wrong_do_not_take_part(caveat):
    assert method_contests([row(1, "prompt-tuning", 95.0, caveats=(caveat,)), row(2, "full", 91.0)], PAPERS) == ()


def test_lower_is_better_is_respected():
    (found,) = method_contests(
        [row(1, "full", 5.0, higher_is_better=False), row(2, "lora", 9.0, higher_is_better=False)], PAPERS
    )
    assert found.method == "full"
    assert found.outcome == 1.0


def test_a_table_of_many_methods_is_one_observation_of_each():
    rows = [row(number, method, 90.0) for number, method in enumerate(("a", "b", "c", "d"), start=1)]
    found = method_contests(rows, PAPERS)
    assert sum(one.weight for one in found if "a" in (one.method, one.rival)) == pytest.approx(1.0)


def test_many_set_ups_of_one_paper_count_as_the_root_of_their_number():
    rows = [
        row(2 * i + j, method, 90.0, dataset=str(i)) for i in range(16) for j, method in enumerate(("lora", "full"))
    ]
    assert sum(one.weight for one in method_contests(rows, PAPERS)) == pytest.approx(4.0)


def test_one_learning_rate_for_all_halves_the_weight():
    rows = [row(1, "lora", 91.0), row(2, "full", 89.0)]
    doubted = {"some2024": replace(PAPERS["some2024"], caveats=("one-learning-rate",))}
    (sure,), (unsure,) = method_contests(rows, PAPERS), method_contests(rows, doubted)
    assert unsure.weight == pytest.approx(sure.weight / 2)


def test_a_comparison_without_numbers_counts_through_what_it_says():
    said = row(1, "peft", None, outcomes=(Outcome(method="lora", versus="full", outcome="worse"),))
    (found,) = method_contests([said], PAPERS)
    assert (found.method, found.rival) == ("lora", "full")
    assert found.outcome < 0.5


def test_counts_are_read_as_shares_of_their_total():
    assert points(20, "plausible patches, of 40 bugs", "", 20) == 50.0
    assert points(239, "correct patches (count)", "239 of 478 bugs", 239) == 50.0
    assert points(0.5, "accuracy", "", 0.9) == 50.0
    assert points(50.0, "accuracy", "", 90.0) == 50.0
