"""`estimate` says how many GPUs a step needs that is too large for one."""

import json

import pytest

from advisor.cli.estimate_gpus import spread_that_fits
from advisor.cli.estimate_view import as_json, render
from advisor.dryrun.answers import Answer
from advisor.dryrun.api import estimate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def too_large() -> Answer:
    return estimate("microsoft/codebert-base", batch_size=32, vram_gib=6)


def test_a_step_that_is_too_large_for_one_gpu_fits_on_each_of_several(too_large: Answer) -> None:
    assert too_large.fits is False
    found = spread_that_fits(too_large)
    assert found is not None
    assert sum(found.layers_per_gpu) == 12
    assert sum(one.weights_bytes for one in found.gpus) == too_large.estimate.weights_bytes
    assert found.peak_memory_bytes <= (too_large.run.usable_bytes or 0) < too_large.peak_memory_bytes
    text = " ".join(render(too_large).split())
    assert f"Over several: needs {len(found.gpus)} such GPUs, " in text
    assert f"(layers {' + '.join(map(str, found.layers_per_gpu))})" in text


def test_programs_are_told_the_peak_of_each_gpu(too_large: Answer) -> None:
    shown, found = json.loads(as_json(too_large)), spread_that_fits(too_large)
    assert found is not None
    assert shown["gpus_needed"] == len(shown["peak_of_gpus_bytes"]) == len(shown["layers_of_gpus"]) > 1
    assert max(shown["peak_of_gpus_bytes"]) == found.peak_memory_bytes


def test_what_fits_or_has_no_device_to_fit_needs_no_other_gpus() -> None:
    for options in ({"vram_gib": 80}, {}):
        found = estimate("microsoft/codebert-base", **options)
        assert spread_that_fits(found) is None
        assert "Over several" not in render(found)
        assert "gpus_needed" not in json.loads(as_json(found))
