"""The taxonomy holds every task, every PEFT method and every method of the evidence."""

import re

from peft import PeftType

from advisor.catalog.methods import ARCHITECTURES, METHODS
from advisor.catalog.tasks import TASKS
from advisor.catalog.taxonomy import read_taxonomy
from advisor.evidence.quality_setups import FAMILY_OF
from advisor.evidence.rows import read_evidence

TAXONOMY = read_taxonomy()


def test_every_peft_type_of_the_installed_library_has_its_place():
    placed = {one.peft_type for one in TAXONOMY.methods}
    new = sorted(one.value for one in PeftType if one.value not in placed)
    assert not new, f"PEFT offers {', '.join(new)}: give each its family in knowledge/taxonomy.json"


def test_every_task_of_the_catalogue_has_its_place_once_and_its_kind():
    placed = [one.task for one in TAXONOMY.tasks if one.task is not None]
    assert sorted(placed) == sorted(TASKS)
    assert {one.task: one.kind for one in TAXONOMY.tasks if one.task} == {
        slug: task.kind for slug, task in TASKS.items()
    }


def test_the_review_has_its_17_tasks_and_18_methods():
    assert sum(one.review is not None and one.kind == "generative" for one in TAXONOMY.tasks) == 11
    assert sum(one.review is not None and one.kind == "non-generative" for one in TAXONOMY.tasks) == 6
    assert sum(one.review is not None for one in TAXONOMY.methods) == 18


def test_every_method_offered_stands_in_its_family_with_its_peft_type():
    offered = {one.slug: one for one in TAXONOMY.methods if one.slug in METHODS}
    assert offered.keys() == METHODS.keys() - {"full"}
    for slug, place in offered.items():
        method = METHODS[slug]
        assert (place.offered_as, place.family, place.peft_type) == (slug, method.family, method.peft_type)
    others = {one.slug: one.offered_as for one in TAXONOMY.methods if one.slug not in METHODS and one.offered_as}
    assert others == {"qlora": "lora", "adapter": "adapter-houlsby", "language-and-task-adapter": "adapter-stack"}


def test_every_method_of_the_evidence_has_one_place():
    names = [name for one in (*TAXONOMY.methods, *TAXONOMY.others) for name in one.evidence]
    assert len(names) == len(set(names))
    rows = read_evidence()
    used = {name for row in rows for name in (row.method, *row.methods) if name}
    assert used <= set(names)


def test_slugs_and_architectures_are_unique_and_known():
    slugs = [one.slug for one in (*TAXONOMY.methods, *TAXONOMY.others)]
    assert len(slugs) == len(set(slugs))
    assert tuple(TAXONOMY.architectures) == ARCHITECTURES


def test_every_pattern_names_concepts_and_every_concept_is_used():
    named = {concept for place in TAXONOMY.tasks for pattern in place.patterns for concept in pattern}
    assert named == TAXONOMY.concepts.keys()


def test_no_name_belongs_to_two_tasks():
    seen: dict[str, str] = {}
    for place in TAXONOMY.tasks:
        for name in (place.review, place.abbreviation, *place.aliases):
            if name is not None:
                plain = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
                assert seen.setdefault(plain, place.name) == place.name


def test_the_evidence_model_puts_every_method_into_the_same_family():
    places = {one.slug: one.family for one in read_taxonomy().methods}
    assert {slug: (FAMILY_OF[slug], places[slug]) for slug in FAMILY_OF if slug in places} == {
        slug: (places[slug], places[slug]) for slug in FAMILY_OF if slug in places
    }
