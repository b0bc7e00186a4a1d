"""result.json: records of the version before can be read, and what follows from several seeds."""

import json
from dataclasses import replace

import pytest

from advisor import records
from advisor.errors import DataError
from advisor.result import Finalist, Finals, SeedValue, TuningResult
from advisor.trial import TrialFailure
from tests.report import fixtures

NEW_IN_VERSION_2 = {
    "": ("finals", "n_trials_finished"),
    "plan": ("target", "final_seeds"),
    "contenders": ("seeds",),
    "differences": ("n_seeds", "n_seeds_against"),
}


def version_1() -> dict[str, object]:
    """Return a result as version 1 wrote it."""
    plain = records.to_plain(fixtures.result())
    plain["schema_version"] = 1
    for part, names in NEW_IN_VERSION_2.items():
        of = plain if not part else plain[part]
        for row in of if isinstance(of, list) else [of]:
            for name in names:
                del row[name]
    return plain


def test_a_result_of_version_1_is_read_as_one_seed_without_finals(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(version_1()))
    found = records.read(TuningResult, tmp_path / "result.json")
    assert (found.schema_version, found.finals, found.plan.final_seeds) == (1, None, 1)
    assert all(row.seeds == () and row.delivered is None for row in found.contenders)
    assert replace(found, schema_version=2) == fixtures.result()


def test_a_result_with_finals_is_read_as_it_was_written(tmp_path):
    records.write(fixtures.seeded_result(), tmp_path / "result.json")
    assert records.read(TuningResult, tmp_path / "result.json") == fixtures.seeded_result()


def test_a_result_of_an_unknown_version_is_refused(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(version_1() | {"schema_version": 3}))
    with pytest.raises(DataError, match="schema_version 3 is not 1 or 2"):
        records.read(TuningResult, tmp_path / "result.json")


def test_the_seed_to_deliver_is_the_best_on_validation_data_and_the_earlier_of_equals():
    best = next(row for row in fixtures.seeded_result().contenders if row.name == "best trial")
    assert best.delivered == best.seeds[0]
    equal = replace(best, seeds=tuple(replace(one, validation=0.5) for one in best.seeds[1:]))
    assert equal.delivered == equal.seeds[0]


def test_failed_seeds_have_no_value_and_are_counted():
    failed = SeedValue(seed=2, value=None, failure=TrialFailure(kind="nan-loss", message="x"))
    finalist = Finalist(trial=4, values=(SeedValue(seed=1, value=0.5), failed, SeedValue(seed=3, value=0.7)))
    assert finalist.complete((1, 2)) == (0.5,)
    assert finalist.complete((1, 2, 3)) == (0.5, 0.7)
    assert (finalist.n_failed((1, 3)), finalist.n_failed((1, 2))) == (0, 1)


@pytest.mark.parametrize("changes", [{"finalists": ()}, {"counted": ()}])
def test_finals_that_decide_nothing_are_refused(changes):
    with pytest.raises(ValueError, match="need a finalist"):
        Finals(**{name: getattr(fixtures.finals(), name) for name in Finals.__dataclass_fields__} | changes)
