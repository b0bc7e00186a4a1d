"""What is measured before a search is measured once, kept, and corrects the estimates of the study."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from advisor import records
from advisor.candidates import Candidate
from advisor.catalog.tasks import find_task
from advisor.errors import DataError
from advisor.feasibility import Estimate
from advisor.feasibility.device import CONTEXT_BYTES
from advisor.feasibility.memory import Step
from advisor.result import Probe
from advisor.spec import GIB
from advisor.trial import StepMeasurement
from advisor.tuning.events import StageStarted
from advisor.tuning.probe import CorrectedEstimates, estimator_for, find_probe
from tests.report import fixtures

CLONES, SUMMARIES = find_task("clone-detection"), find_task("code-summarization")
RECOMMENDED = fixtures.candidate()  # eight examples per step
MEASURED = StepMeasurement(
    peak_memory_bytes=6 * GIB, available_bytes=20 * GIB, duration_s=0.25, micro_batch_size=8, source_tokens=200
)


@dataclass
class FakeProber:
    """A device that took `measured`, and remembers how often it was asked."""

    measured: StepMeasurement | None = MEASURED
    device: str = "cuda:0 (Test GPU)"
    reports_memory: bool = True
    asked: list[Candidate] = field(default_factory=list)

    def probe(self, candidate: Candidate) -> StepMeasurement | None:
        self.asked.append(candidate)
        return self.measured


def estimate(candidate: Candidate, step: Step) -> Estimate | None:
    """A context, one GiB and half a GiB per example, thrice for (IA)3, so that eight examples of LoRA are 5 GiB."""
    times = 3 if candidate.method == "ia3" else 1
    n_bytes = times * (GIB + step.batch_size * GIB // 2)
    return replace(fixtures.estimate(), peak_memory_bytes=n_bytes + CONTEXT_BYTES, peak_reserved_bytes=n_bytes)


def found(folder: Path, prober: FakeProber, events: list[StageStarted] | None = None) -> Probe | None:
    return find_probe(folder, prober, RECOMMENDED, estimate, (events if events is not None else []).append)


def corrected(**changes: object) -> CorrectedEstimates:
    probe = Probe(
        candidate=RECOMMENDED, device="cuda:0", basis="dry run", micro_batch_size=8, source_tokens=200,
        target_tokens=0, estimated_memory_bytes=5 * GIB, measured_memory_bytes=6 * GIB, available_bytes=20 * GIB,
        estimated_step_s=None, measured_step_s=0.25,
    )  # fmt: skip
    return CorrectedEstimates(probe=replace(probe, **changes), task=CLONES, estimate=estimate)  # type: ignore[arg-type]


def test_estimate_and_measurement_stand_side_by_side_in_a_file(tmp_path):
    events: list[StageStarted] = []
    probe = found(tmp_path, FakeProber(), events)
    assert probe is not None
    assert (probe.estimated_memory_bytes, probe.measured_memory_bytes) == (5 * GIB, 6 * GIB)
    assert probe.memory_ratio == pytest.approx(1.2)
    assert (probe.candidate, probe.device, probe.basis) == (RECOMMENDED, "cuda:0 (Test GPU)", "first-order formula")
    assert (probe.measured_step_s, probe.available_bytes) == (0.25, 20 * GIB)
    assert records.read(Probe, tmp_path / "probe.json") == probe
    assert [event.text for event in events] == ["measuring one training step of the recommendation"]


def test_the_estimate_is_of_the_step_that_was_measured(tmp_path):
    steps: list[Step] = []
    smaller = replace(MEASURED, micro_batch_size=2, source_tokens=77, target_tokens=9)

    def spy(candidate: Candidate, step: Step) -> Estimate | None:
        steps.append(step)
        return estimate(candidate, step)

    probe = find_probe(tmp_path, FakeProber(measured=smaller), RECOMMENDED, spy, lambda event: None)
    assert steps == [Step(batch_size=2, source_tokens=77, target_tokens=9)]
    assert probe is not None
    assert probe.estimated_memory_bytes == 2 * GIB


def test_a_study_that_is_continued_does_not_measure_again(tmp_path):
    first = found(tmp_path, FakeProber())
    events: list[StageStarted] = []
    again = FakeProber(measured=replace(MEASURED, peak_memory_bytes=9 * GIB))
    assert found(tmp_path, again, events) == first
    assert again.asked == []
    assert events == []


def test_another_device_is_measured_anew(tmp_path):
    found(tmp_path, FakeProber())
    probe = found(tmp_path, FakeProber(device="cuda:0 (Other GPU)"))
    assert probe is not None
    assert probe.device == "cuda:0 (Other GPU)"
    assert records.read(Probe, tmp_path / "probe.json") == probe


def test_without_a_device_that_reports_memory_nothing_happens(tmp_path):
    prober, events = FakeProber(reports_memory=False), []
    assert found(tmp_path, prober, events) is None
    assert (prober.asked, events, list(tmp_path.iterdir())) == ([], [], [])


def test_a_step_that_cannot_be_run_or_estimated_leaves_no_probe(tmp_path):
    assert found(tmp_path, FakeProber(measured=None)) is None
    assert find_probe(tmp_path, FakeProber(), RECOMMENDED, lambda *_: None, lambda event: None) is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_probe_is_named(tmp_path):
    (tmp_path / "probe.json").write_text('{"device": 3}')
    with pytest.raises(DataError, match=r"probe\.json"):
        found(tmp_path, FakeProber())


@pytest.mark.parametrize(
    "wrong", [{"estimated_memory_bytes": 0}, {"micro_batch_size": 0}, {"schema_version": 2}, {"estimated_step_s": 0.0}]
)
def test_a_probe_without_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        corrected(**wrong)


def test_the_ratio_corrects_the_estimate_of_another_candidate():
    estimates = corrected()
    other = fixtures.candidate(3e-3, method="ia3")
    # 3 x (1 GiB + 4 x 0.5 GiB), then 6 measured for every 5 estimated.
    assert estimates.estimated_bytes(other, 4) == 9 * GIB
    assert estimates.corrected_bytes(other, 4) == pytest.approx(10.8 * GIB, rel=1e-9)


@pytest.mark.parametrize(
    ("available_gib", "size"),
    [
        # 1.2 x 3 x (1 + size / 2) GiB: 18 for 8 examples, 10.8 for 4, 7.2 for 2, 5.4 for 1.
        (18.1, 8), (17.9, 4), (10.7, 2), (7.1, 1), (5.3, 0),
    ],
)  # fmt: skip
def test_the_largest_half_of_the_micro_batch_that_fits_is_found(available_gib, size):
    estimates = corrected(available_bytes=int(available_gib * GIB))
    assert estimates.fitting_micro_batch(fixtures.candidate(method="ia3")) == size


def test_the_micro_batch_that_was_asked_for_is_where_the_halving_begins():
    estimates = corrected(available_bytes=int(9.1 * GIB))
    asked = replace(fixtures.candidate(method="ia3"), micro_batch_size=3)
    assert estimates.fitting_micro_batch(asked) == 3


def test_what_cannot_be_estimated_is_taken_to_fit():
    estimates = replace(corrected(available_bytes=1), estimate=lambda *_: None)
    assert estimates.fitting_micro_batch(RECOMMENDED) == 8


def test_other_candidates_are_taken_as_long_as_the_data_unless_they_read_more_of_them():
    seen: list[Step] = []
    for task, probed in ((CLONES, RECOMMENDED), (SUMMARIES, fixtures.candidate(architecture="decoder-only"))):
        estimates = replace(corrected(candidate=probed), task=task, estimate=lambda candidate, step: seen.append(step))
        for length in (256, 512):
            estimates.estimated_bytes(replace(probed, max_seq_length=length), 4)
    lengths = [step.source_tokens for step in seen]
    assert lengths == [200, 512, 200, 512 + SUMMARIES.max_target_length]


def test_another_base_model_has_another_tokenizer_so_its_step_is_as_long_as_can_be():
    seen: list[Step] = []
    probed = fixtures.candidate(architecture="decoder-only")
    estimates = replace(corrected(candidate=probed), task=SUMMARIES, estimate=lambda candidate, step: seen.append(step))
    for architecture in ("decoder-only", "encoder-decoder"):
        other = replace(probed, base_model="another", architecture=architecture)
        estimates.estimated_bytes(other, 4)
    target = SUMMARIES.max_target_length
    assert seen == [
        Step(batch_size=4, source_tokens=256 + target, target_tokens=0),
        Step(batch_size=4, source_tokens=256, target_tokens=target),
    ]


def test_estimates_come_from_the_catalogue_and_are_missing_for_what_it_does_not_know():
    known = estimator_for(CLONES)(
        fixtures.candidate(base_model="microsoft/unixcoder-base"), Step(batch_size=2, source_tokens=128)
    )
    assert known is not None
    # 126 million parameters in float32 alone.
    assert known.peak_memory_bytes > 4 * 125_000_000 + CONTEXT_BYTES
    assert estimator_for(CLONES)(RECOMMENDED, Step(batch_size=2, source_tokens=128)) is None
    checkpointed = replace(fixtures.candidate(base_model="microsoft/unixcoder-base"), gradient_checkpointing=True)
    assert estimator_for(CLONES)(checkpointed, Step(batch_size=2, source_tokens=128)) is None
