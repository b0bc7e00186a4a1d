"""Installed packages as a source of functions."""

from pathlib import Path
from random import Random

from advisor.demo.packages import SPLIT_SHARES, assign_splits, find_packages, read_functions
from tests.demo.source_tree import write_packages


def test_forks_of_the_standard_library_this_package_and_tests_are_left_out(tmp_path: Path) -> None:
    write_packages(tmp_path, n_packages=2)
    for name in ("advisor", "setuptools", "tests"):
        (tmp_path / "package0").rename(tmp_path / name)
        assert set(find_packages([tmp_path])) == {"package1"}
        (tmp_path / name).rename(tmp_path / "package0")
    (tmp_path / "package0" / "tests").mkdir()
    (tmp_path / "package0" / "tests" / "test_it.py").write_text("x = 1", encoding="utf-8")
    assert all("tests" not in path.parts[-2:] for path in find_packages([tmp_path])["package0"])


def test_every_package_is_in_exactly_one_split_and_sizes_come_near_the_shares(tmp_path: Path) -> None:
    packages = find_packages([write_packages(tmp_path, n_packages=40, n_functions=12)])
    splits = assign_splits(packages, seed=1)
    assert sorted(name for names in splits.values() for name in names) == sorted(packages)
    for split, share in SPLIT_SHARES.items():
        assert abs(len(splits[split]) / len(packages) - share) < 0.06
    assert splits == assign_splits(packages, seed=1)
    assert splits != assign_splits(packages, seed=2)


def test_no_function_comes_twice_under_other_names(tmp_path: Path) -> None:
    root = write_packages(tmp_path, n_packages=2)
    copy = (root / "package0" / "more.py").read_text(encoding="utf-8").replace("limit", "bound")
    (root / "package1" / "copy.py").write_text(copy, encoding="utf-8")
    packages = find_packages([root])
    found = list(read_functions(packages, chunk=5, max_characters=600, documented=False, seen=set(), rng=Random(0)))
    assert len(found) == 80
    assert len({function.normalised for function in found}) == 80


def test_packages_take_turns(tmp_path: Path) -> None:
    packages = find_packages([write_packages(tmp_path, n_packages=3)])
    stream = read_functions(packages, chunk=5, max_characters=600, documented=False, seen=set(), rng=Random(0))
    first = [next(stream).package for _ in range(15)]
    assert sorted(set(first)) == sorted(packages)
