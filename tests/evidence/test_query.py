"""Looking rows up, and what is said when there are none."""

import pytest

from advisor.errors import UnknownNameError
from advisor.evidence.query import count_by_task, select
from advisor.evidence.rows import find_rows, read_evidence
from advisor.evidence.text import render_rows, render_tasks


def test_every_row_is_counted_once():
    assert sum(count_by_task().values()) == len(read_evidence())


def test_tasks_without_rows_are_listed_as_having_none():
    text = render_tasks(count_by_task())
    assert any(line.split()[:2] == ["vulnerability-repair", "no"] for line in text.splitlines())


def test_rows_are_found_by_task_method_and_model():
    rows = select("code-search", "adapter", "unixcoder-base")
    assert rows
    assert {(row.task, row.method, row.hf_id) for row in rows} == {
        ("code-search", "adapter", "microsoft/unixcoder-base")
    }


def test_a_name_that_is_known_but_has_no_rows_gives_none():
    assert select("clone-detection", "dora") == ()
    assert select("code-generation", model="microsoft/codereviewer") == ()


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"task": "clone-detect"}, "unknown task 'clone-detect'; nearest: clone-detection"),
     ({"method": "lorra"}, "unknown method 'lorra'; nearest: lora"),
     ({"model": "unixcodr"}, "unknown model 'unixcodr'; nearest: UniXcoder")],
)  # fmt: skip
def test_unknown_names_are_one_line_with_the_nearest(asked, said):
    with pytest.raises(UnknownNameError, match=said):
        select(**asked)


def test_rows_are_found_by_id_in_the_order_asked():
    ids = ("li2024apr-098", "hu2021lora-001", "li2024apr-098")
    assert [row.id for row in find_rows(ids)] == ["li2024apr-098", "hu2021lora-001"]
    with pytest.raises(UnknownNameError, match="nearest: hu2021lora-"):
        find_rows(("hu2021lora-1",))


def test_a_row_is_shown_with_value_source_grade_and_caution():
    text = render_rows(find_rows(("wang2022nomore-064",)))
    assert "accuracy: 63.68" in text
    assert "seen: repository-file" in text
    assert "https://github.com/adf1178/PT4Code" in text
    assert "caution: the base model was trained too" in text


def test_every_row_can_be_shown():
    assert render_rows(read_evidence(), width=10_000).count("(seen: ") == len(read_evidence())
