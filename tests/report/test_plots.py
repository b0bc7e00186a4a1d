"""The drawings of report.md: their numbers are those of the records, and text from outside stays text."""

import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib as mpl
import pytest

from advisor.report.memory import compare_memory
from advisor.report.page import build_page
from advisor.report.plots import curves_axes, differences_axes, draw_plots, history_axes, memory_axes
from advisor.report.svg import drawing, svg_text
from advisor.trial import TrialFailure
from tests.report import fixtures

MOST_BYTES = 60_000


@pytest.fixture
def style():
    with drawing():
        yield


def drawn(run):
    return {plot.name: plot for plot in draw_plots(run, build_page(run))}


def line(axes, label):
    (found,) = [one for one in axes.lines if one.get_label() == label]
    return list(zip(found.get_xdata(), found.get_ydata(), strict=True))


def texts(svg):
    root = ElementTree.fromstring(svg)
    return ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_history_has_the_value_of_every_trial(style):
    axes = history_axes(fixtures.run_folder(), "f1")
    values = {t.number: t.value for t in fixtures.trials()}
    assert line(axes, "best trial") == [(9, values[9])]
    assert line(axes, "warm start") == [(0, 0.812), (1, 0.731)]
    assert line(axes, "pruned") == [(n, values[n]) for n in (3, 12)]
    assert line(axes, "complete") == [(n, values[n]) for n in (2, 4, 6, 7, 8, 10, 13)]
    assert [x for x, _ in line(axes, "without a value")] == [5, 11]
    best = line(axes, "best so far")
    assert best[0] == (0, 0.812)
    assert best[-1] == (13, values[9])


def test_the_curves_have_every_report_and_gaps_between_the_trials(style):
    axes = curves_axes(fixtures.run_folder(), "f1")
    assert line(axes, "recommendation (0)") == [(20, 0.61), (60, 0.74), (180, 0.812)]
    best = next(t for t in fixtures.trials() if t.number == 9)
    assert line(axes, "best trial (9)") == [(r.step, r.metrics["f1"]) for r in best.reports]
    pruned = [p for p in line(axes, "other, pruned") if not math.isnan(p[0])]
    reported = [(r.step, r.metrics["f1"]) for t in fixtures.trials() if t.state == "pruned" for r in t.reports]
    assert sorted(pruned) == sorted(reported)
    assert list(axes.get_xticks()) == [20, 60, 180]
    assert sum(math.isnan(x) for x, _ in line(axes, "other, pruned")) == 2


def test_the_differences_have_the_ends_of_their_intervals(style):
    found = (fixtures.difference("majority class", 0.187, 0.04), fixtures.difference("linear probe", -0.01, 0.03))
    axes = differences_axes(found, "f1")
    intervals = [list(one.get_xdata()) for one in axes.lines[::2]][:2]
    assert intervals == [[pytest.approx(0.147), pytest.approx(0.227)], [pytest.approx(-0.04), pytest.approx(0.02)]]
    assert [list(one.get_xdata()) for one in axes.lines[1:4:2]] == [[0.187], [-0.01]]
    assert [one.get_text() for one in axes.get_yticklabels()] == ["majority class", "linear probe"]


def test_the_parts_of_a_memory_bar_are_as_long_as_the_estimate_says(style):
    run = fixtures.run_folder()
    axes = memory_axes(compare_memory(run))
    sizes = [494, 4, 4, 9, 610, 8, 60, 412]  # MiB of the fixture's parts that are not zero
    bars = [patch.get_width() for patch in axes.patches][: len(sizes)]
    assert [bar / bars[0] for bar in bars] == pytest.approx([size / sizes[0] for size in sizes])
    # Trial 0 and trial 9 measured 1400 and 1409 MiB; the estimate's parts add up to 1601.
    measured = [patch.get_width() for patch in axes.patches][len(sizes) :]
    assert measured == pytest.approx([sum(bars) * 1400 / 1601, sum(bars) * 1409 / 1601])


@pytest.mark.parametrize("name", [r"$\frac{1}{$", "<script>alert(1)</script>", r"$x^2$ & <b>", "中文 ‮evil"])
def test_a_hostile_name_is_drawn_as_it_is_written(style, name):
    svg = svg_text(differences_axes([fixtures.difference(name, 0.1, 0.05)], "f1").figure, name)
    assert name.replace("‮", "\\u202e") in texts(svg)
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
    assert not tags & {"script", "a", "image", "foreignObject", "b"}


def test_a_run_full_of_hostile_text_can_be_drawn():
    for plot in drawn(fixtures.hostile_run()).values():
        ElementTree.fromstring(plot.svg)
        assert len(plot.svg.encode()) < MOST_BYTES


def test_the_same_run_gives_the_same_bytes_whatever_the_user_has_set_for_other_drawings():
    first = drawn(fixtures.run_folder())
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "black", "text.parse_math": True}):
        assert drawn(fixtures.run_folder()) == first
        assert mpl.rcParams["font.size"] == 30
    assert list(first) == ["history", "curves", "differences", "memory"]
    assert not any("dc:date" in plot.svg or mpl.__version__ in plot.svg for plot in first.values())


def test_many_trials_stay_a_small_file_whose_description_says_what_is_left_out():
    def value(i):
        return 0.5 + 0.4 * math.sin(i * i) ** 2

    trials = tuple(
        fixtures.trial(i, (value(i), value(i + 1), value(i + 2)), state="pruned" if i % 3 else "complete")
        for i in range(300)
    )
    found = drawn(fixtures.run_folder(trials=trials))
    assert all(len(plot.svg.encode()) < MOST_BYTES for plot in found.values())
    for name in ("history", "curves"):
        assert "of 300 trials 250 are drawn" in found[name].alt


def test_a_study_without_values_has_no_history_and_no_curves():
    failure = TrialFailure(kind="out-of-memory", message="x")
    failed = fixtures.trial(0, (), state="failed", failure=failure)
    run = fixtures.run_folder(trials=(failed,), result=None)
    assert set(drawn(run)) == {"memory"}  # the estimate was made before


def test_an_unfinished_study_is_drawn_with_its_best_so_far():
    run = replace(fixtures.run_folder(), result=None)
    found = drawn(run)
    assert set(found) == {"history", "curves", "memory"}
    assert "best trial" in texts(found["history"].svg)


def test_matplotlib_is_loaded_when_something_is_drawn_and_never_with_its_windows():
    code = (
        "import sys, advisor.report\n"
        "from tests.report import fixtures\n"
        "from advisor.report.page import build_page\n"
        "from advisor.report.plots import draw_plots\n"
        "before = 'matplotlib' in sys.modules\n"
        "run = fixtures.run_folder()\n"
        "n = len(draw_plots(run, build_page(run)))\n"
        "print(before, n, 'matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    no_cache = {"MPLCONFIGDIR": "/dev/null/nowhere", "HOME": "/dev/null"}  # of which it would warn
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | no_cache, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["False", "4", "True", "False"]
