"""Finding and reading the knowledge files."""

from advisor.catalog import files
from advisor.catalog.files import knowledge_folder, read_rows


def test_a_checkout_reads_the_folder_beside_the_package():
    assert knowledge_folder().name == "knowledge"


def test_an_installed_package_reads_its_own_copy(tmp_path, monkeypatch):
    package = tmp_path / "advisor"
    (package / "catalog").mkdir(parents=True)
    (package / "knowledge").mkdir()
    (package / "knowledge" / "evidence.jsonl").write_text('{"id": "own"}\n\n')
    monkeypatch.setattr(files, "__file__", str(package / "catalog" / "files.py"))
    knowledge_folder.cache_clear()
    try:
        assert [row["id"] for row in read_rows("evidence.jsonl")] == ["own"]
    finally:
        knowledge_folder.cache_clear()


def test_only_lines_that_may_matter_are_parsed():
    some, everything = list(read_rows("gpus.jsonl", containing=('"Tesla T4"',))), list(read_rows("gpus.jsonl"))
    assert [row["name"] for row in some] == ["Tesla T4"]
    assert len(everything) == 59
