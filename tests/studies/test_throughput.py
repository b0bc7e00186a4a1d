"""The study of throughput compares like with like, and its GPU entry runs on a CPU at tiny sizes."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scipy.stats import ttest_rel

from advisor.modeling.attachment import attach_adapter
from advisor.training.resident import Resident
from studies.gpu import run as queue
from studies.gpu.entries import throughput
from studies.gpu.entry import Slot
from studies.throughput.engine_arm import run_engine
from studies.throughput.overhead import measure_overhead, measure_packing
from studies.throughput.run import ARMS, FOLDER
from studies.throughput.setting import Setting, make_setting, shortened
from studies.throughput.summary import AGAINST, STEPS, mean_difference, spread
from studies.throughput.trainer_arm import Habits, encode_pairs, encode_texts, run_trainer
from tests.demo.source_tree import write_packages

pytestmark = pytest.mark.slow

PARAMS = json.loads((FOLDER / "params.json").read_text())
TASKS = ("clone-detection", "code-summarization")
ROOT = FOLDER.parents[1]


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, Setting]:
    folder = tmp_path_factory.mktemp("throughput")
    source = write_packages(folder / "packages")
    sizes = {"n_train": 8, "n_valid": 4, "n_trials": 2}
    common = {"seed": 0, "batch_size": 4, "evaluation_batch_size": 4, "source": source}
    return {slug: make_setting(slug, {**PARAMS["questions"][slug], **sizes}, folder / slug, **common) for slug in TASKS}


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return queue.make_slot(queue.parse(["--smoke", "--device", "cpu", "--output", str(tmp_path)]))


@pytest.mark.parametrize(("slug", "encode"), [("clone-detection", encode_pairs), ("code-summarization", encode_texts)])
def test_both_loops_read_the_same_rows(settings, slug, encode):
    setting = settings[slug]
    candidate = setting.candidates[0]
    data = Resident(setting.task, setting.examples, torch.device("cpu"), seed=0)
    attached = attach_adapter(data.lend(candidate), candidate, seed=0)
    rows = data.rows("train", candidate, attached).rows
    examples = setting.examples["train"]
    columns = {
        "text": [one.text for one in examples],
        "pair": [one.text_pair or "" for one in examples],
        "target": [one.target for one in examples],
    }
    encoded = encode(setting, attached.base.tokenizer, candidate, columns)
    assert [list(ids) for ids in encoded["input_ids"]] == [row.input_ids.tolist() for row in rows]
    labels = [row.labels.tolist() for row in rows]
    assert encoded["labels"] == ([one[0] for one in labels] if setting.is_classification else labels)


def test_rows_padded_to_the_limit_are_as_long_as_the_limit(settings):
    setting = settings["clone-detection"]
    candidate = setting.candidates[0]
    tokenizer = Resident(setting.task, setting.examples, torch.device("cpu"), seed=0).base_model(candidate).tokenizer
    columns = {"text": ["def f(x):"], "pair": ["return x"], "target": ["1"]}
    encoded = encode_pairs(setting, tokenizer, candidate, columns, pads=True)
    assert [len(ids) for ids in encoded["input_ids"]] == [candidate.max_seq_length]


@pytest.mark.slow
@pytest.mark.parametrize("slug", TASKS)
def test_both_arms_train_all_candidates_to_the_end(settings, slug, tmp_path):
    setting = shortened(settings[slug], 4)
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    runs = [
        run_trainer(setting, Habits(), 0, folders[0]),
        run_trainer(setting, Habits(is_resident=True, tokenizes_once=True, has_buckets=True), 0, folders[1]),
        run_engine(setting, 0, folders[2], slots=1, prunes=False),
    ]
    assert [[trial.n_steps for trial in run.trials] for run in runs] == [[2, 2]] * 3
    scale = 1 if setting.is_classification else 100
    assert all(0 <= trial.value <= scale for run in runs for trial in run.trials)
    parts = runs[2].details["seconds_in"]
    assert parts["training"] > 0
    assert parts["evaluation"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("slug", TASKS)
def test_the_loop_written_by_hand_ends_with_the_same_adapter(settings, slug):
    measured = measure_overhead(settings[slug], n_blocks=2, block_steps=1, seed=0)
    assert measured["largest_difference"] < 1e-6
    assert len(measured["ratios"]) == 2
    assert all(ratio > 0 for ratio in measured["ratios"])


@pytest.mark.slow
def test_packs_of_every_size_are_timed(settings):
    measured = measure_packing(settings["clone-detection"], sizes=(1, 2), n_steps=1, seed=0)
    assert list(measured) == [1, 2]
    assert all(seconds > 0 for seconds in measured.values())


def test_every_arm_of_the_parameters_and_tables_exists():
    named = {arm for sizes in PARAMS["questions"].values() for arm in sizes["arms"]}
    assert named | {arm for pair in AGAINST for arm in pair} | {arm for _, *pair in STEPS for arm in pair} <= set(ARMS)


def test_ratios_have_their_geometric_mean_and_range():
    assert spread([2.0, 8.0]) == pytest.approx({"mean": 4.0, "low": 2.0, "high": 8.0})


def test_the_interval_of_paired_differences_is_that_of_scipy():
    ours, theirs = [0.8, 0.7, 0.9, 0.6], [0.7, 0.75, 0.8, 0.5]
    expected = ttest_rel(ours, theirs).confidence_interval(0.95)
    found = mean_difference(ours, theirs)
    assert found["mean"] == pytest.approx(0.0625)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_gains_are_ratios_of_trial_steps():
    packs = [{"size": 1, "trial_step_s": 0.2}, {"size": 2, "trial_step_s": 0.125}, {"size": 4, "not_run": "full"}]
    found = throughput.gains({"step_s": 0.25}, packs)
    assert found["best_size"] == 2
    assert found["gain"] == pytest.approx(1.6)
    assert found["gain_over_trainer"] == pytest.approx(2.0)
    assert throughput.gains({}, [{"size": 1, "not_run": "full"}]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["codebert-batch8x128", "qwen0.5b-lengths"])
def test_a_part_of_the_gpu_entry_runs_in_its_smoke_form(slot, name):
    part = next(part for part in throughput.ENTRY.parts if part.name == name)
    state, measured = queue.run_part(slot, throughput.ENTRY, part, again=False)
    assert state == "measured"
    (length,) = measured["lengths"]
    assert length["tokens_per_trial_step"] == throughput.SMOKE_BATCH_SIZE * throughput.SMOKE_LENGTH
    assert length["trainer"]["step_s"] > 0
    assert [pack["size"] for pack in length["packs"]] == list(throughput.SMOKE_SIZES)
    for pack in length["packs"]:
        assert math.isclose(pack["trial_step_s"] * pack["size"], pack["step_s"])


def test_the_gpu_entry_measures_nothing_without_a_gpu(tmp_path):
    slot = queue.make_slot(queue.parse(["--device", "cpu", "--output", str(tmp_path)]))
    assert throughput.ENTRY.parts[0].measure(slot)["not_run"] == "needs a CUDA device"


def test_parts_have_names_of_their_own_and_fit_a_slot():
    parts = throughput.ENTRY.parts
    assert len({part.name for part in parts}) == len(parts)
    assert all(part.minutes < 9 for part in parts)


@pytest.mark.slow
def test_the_gpu_entry_needs_no_package_of_search_or_data():
    program = (
        "import sys; import studies.gpu.entries.throughput, advisor.training.packing.pack, advisor.modeling.sharing;"
        "print(sorted({'optuna', 'datasets', 'sacrebleu', 'rouge_score', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
