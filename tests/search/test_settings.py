"""What fixes a study: what differs is named, and studies that were begun earlier go on."""

from dataclasses import replace

from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.records import from_plain, to_plain
from advisor.search.settings import StudySettings, first_difference
from tests.search.fakes import settings, space
from tests.search.several_bases import DECODER, ENCODER, QUANTIZED, joint_settings, joint_space


def test_equal_settings_do_not_differ_also_after_the_way_through_json():
    for one in (settings(), joint_settings()):
        assert first_difference(one, one) is None
        assert first_difference(from_plain(StudySettings, to_plain(one)), one) is None


def test_settings_from_before_several_base_models_could_be_searched_go_on():
    plain = to_plain(settings())
    del plain["space"]["bases"]
    assert first_difference(from_plain(StudySettings, plain), settings()) is None


def test_base_models_that_differ_are_named():
    joint = joint_space()
    fewer = joint_settings(space=replace(joint, bases=joint.bases[:2]))
    everything = f"{ENCODER}, {QUANTIZED}, {DECODER}"
    assert first_difference(joint_settings(), fewer) == (f"base models: {everything} then, {ENCODER}, {QUANTIZED} now")
    alone = settings(base_model="encoder")
    assert first_difference(alone, joint_settings()) == f"base models: encoder then, {everything} now"


def test_other_methods_or_ranges_are_no_other_base_models():
    assert first_difference(settings(), settings(space=space("lora"))) == "the searched methods or ranges differ"
    joint = joint_space()
    changed = joint_settings(space=replace(joint, methods=joint.methods[:1]))
    assert first_difference(joint_settings(), changed) == "the searched methods or ranges differ"


def test_trained_adapters_that_differ_are_named_and_so_is_another_content():
    one = TrainedAdapter(folder="java", sha256="0", reduction_factor=16.0, non_linearity="silu", scaling=1.0)
    first = settings().warm_starts[0]

    def on(*adapters: TrainedAdapter) -> StudySettings:
        return settings(warm_starts=(replace(first, adapters=adapters),))

    assert first_difference(from_plain(StudySettings, to_plain(on(one))), on(one)) is None
    other = replace(one, folder="go")
    assert first_difference(on(one), on(other, one)) == "trained adapters: java then, go, java now"
    assert first_difference(on(one), on()) == "trained adapters: java then, none now"
    assert first_difference(on(one), on(replace(one, sha256="1"))) == "the content of the trained adapters differs"


def test_settings_from_before_trained_adapters_could_be_named_go_on():
    plain = to_plain(settings())
    for candidate in plain["warm_starts"]:
        del candidate["adapters"]
    assert first_difference(from_plain(StudySettings, plain), settings()) is None
