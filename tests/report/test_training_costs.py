"""Quality against what training took."""

import json
from dataclasses import replace

from advisor.report.training_costs import training_costs
from tests.report import fixtures

MIB = 1024**2


def trial(number, value, seconds, mib, state="complete"):
    made = fixtures.trial(number, (value,), state=state)
    report = replace(made.reports[0], duration_s=seconds, peak_memory_bytes=mib * MIB)
    return replace(made, reports=(report,))


TRIALS = (
    trial(0, 0.8, 40.0, 300),  # best quality
    trial(1, 0.7, 20.0, 300),  # fastest
    trial(2, 0.7, 30.0, 200),  # least memory
    trial(3, 0.7, 30.0, 300),  # beaten by 1 and 2
    trial(4, 0.9, 10.0, 100, state="pruned"),  # not comparable
)


def found_on(device):
    result = replace(fixtures.result(), best_trial=0, device=device)
    return training_costs(fixtures.run_folder(trials=TRIALS, result=result), "f1")


def points(figure):
    return {trace["name"]: list(zip(trace["x"], trace["y"], strict=True)) for trace in figure["data"]}


def test_those_that_no_other_beats_in_quality_time_and_memory_stand_apart():
    found = found_on("cuda (Test GPU)")
    json.dumps(found.figures, allow_nan=False)
    assert points(found.figures["time"]) == {
        "best trial": [(40.0, 0.8)], "not beaten": [(20.0, 0.7), (30.0, 0.7)], "beaten by another": [(30.0, 0.7)],
    }  # fmt: skip
    assert points(found.figures["memory"])["best trial"] == [(300 / 1024, 0.8)]
    assert [row.cells[0] for row in found.table.rows] == ["0", "1", "2"]
    assert [row.strong for row in found.table.rows] == [True, False, False]
    assert found.summary.startswith(
        "Of 4 complete trials 3 are not beaten by another in F1, time of training and memory"
    )


def test_on_a_cpu_memory_is_not_known_of_each_trial():
    found = found_on("cpu")
    assert list(found.figures) == ["time"]
    assert [row.cells[0] for row in found.table.rows] == ["0", "1"]  # 2 is slower than 1 and no better
    assert "not known of each trial" in found.summary
    assert len(found.table.columns) == 4


def test_a_trial_in_a_pack_has_its_part_of_the_time():
    packed = replace(TRIALS[1], reports=(replace(TRIALS[1].reports[0], pack_size=4),))
    found = training_costs(fixtures.run_folder(trials=(TRIALS[0], packed)), "f1")
    assert [row.cells[3].replace("\u00a0", " ") for row in found.table.rows] == ["40.0 s", "5.0 s"]


def test_one_complete_trial_is_nothing_to_compare():
    assert training_costs(fixtures.run_folder(trials=(TRIALS[0], TRIALS[4])), "f1") is None
    assert training_costs(fixtures.run_folder(trials=(), result=None), "f1") is None
