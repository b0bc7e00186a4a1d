"""CodeBLEU agrees with the published package where that is repeatable, and with hand-computed counts."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from advisor.errors import InputError, UnknownNameError
from advisor.metrics.codebleu import LANGUAGES, CodeBleu, codebleu_parts, codebleu_score
from advisor.metrics.texts import text_statistics

package = pytest.importorskip("codebleu", reason="needs the optional package codebleu with tree-sitter's grammars")
REFERENCE = "def total(values):\n    result = 0\n    for value in values:\n        result += value\n    return result"
OTHERS = (
    REFERENCE,
    "def total(items):\n    answer = 0\n    for item in items:\n        answer += item\n    return answer",
    "def total(values):\n    # adds up\n    return sum(values)",
    "def total(values:\n    return result )",
    "",
    "λ = [1, 2]\nprint(λ)",
)
SNIPPETS = {
    "c": "int f(int a) { int b = a + 1; return b; }",
    "c++": "int f(int a) { int b = a + 1; return b; }",
    "c#": "class A { int F(int a) { int b = a + 1; return b; } }",
    "go": "package p\nfunc f(a int) int { b := a + 1; return b }",
    "java": "class A { int f(int a) { int b = a + 1; return b; } }",
    "javascript": "function f(a) { let b = a + 1; return b; }",
    "php": "<?php function f($a) { $b = $a + 1; return $b; } ?>",
    "python": "def f(a):\n    b = a + 1\n    return b",
    "ruby": "def f(a)\n  b = a + 1\n  return b\nend",
    "rust": "fn f(a: i32) -> i32 { let b = a + 1; return b; }",
}


def parts(expected: list[str], predicted: list[str], language: str = "python") -> dict[str, float]:
    rows = CodeBleu(language).rows(expected, predicted)
    return {name: float(value[0]) for name, value in codebleu_parts(rows.sum(axis=0, keepdims=True)).items()}


def test_every_part_agrees_with_the_package_on_straight_code() -> None:
    # No loops and branches: there the package orders by the hash of names.
    expected = ["a = 1\nb = a + a\nprint(b, a)", "def f(x):\n    y = x\n    return y", "x = 1\nif x:\n    print(x)"]
    predicted = ["a = 1\nc = a + a\nprint(c)", "def g(z):\n    return z", "x = 1\nprint(x)"]
    theirs = package.calc_codebleu(expected, predicted, "python")
    ours = parts(expected, predicted)
    names = ("ngram_match_score", "weighted_ngram_match_score", "syntax_match_score", "dataflow_match_score")
    assert list(ours.values()) == pytest.approx([theirs[name] for name in names], abs=1e-12)
    assert text_statistics("codebleu", expected, predicted, language="python").value == pytest.approx(
        theirs["codebleu"]
    )


@pytest.mark.parametrize("language", SNIPPETS)
def test_every_language_agrees_with_the_package(language: str) -> None:
    expected, predicted = [SNIPPETS[language]], [SNIPPETS[language].replace("return b", "return a + b", 1)]
    theirs = package.calc_codebleu(expected, predicted, LANGUAGES[language])
    ours = parts(expected, predicted, language)
    assert list(ours.values())[:3] == pytest.approx(list(theirs.values())[1:4], abs=1e-12)


@pytest.mark.parametrize("language", SNIPPETS)
def test_every_language_has_a_data_flow_that_names_do_not_matter_to(language: str) -> None:
    code = SNIPPETS[language]
    renamed = re.sub(r"\ba\b", "q", re.sub(r"\bb\b", "p", code))
    assert CodeBleu(language).rows([code], [renamed])[0, 21] >= 2
    assert parts([code], [renamed], language)["data-flow"] == 1
    assert parts([code], [code], language) == pytest.approx(dict.fromkeys(parts([code], [code], language), 1.0))


def test_the_counts_of_a_small_example_are_those_of_a_hand() -> None:
    (row,) = CodeBleu("python").rows(["if x : y"], ["if z : y"])
    assert row[:10].tolist() == [3, 1, 0, 0, 4, 3, 2, 1, 4, 4]  # n-grams of "if x : y", then the lengths
    assert row[10:18].tolist() == pytest.approx([1 + 0.2 + 0.2, 1, 0, 0, 1 + 3 * 0.2, 3, 2, 1])  # "if" is a keyword
    sums = row[None, :]
    ngram = (3 / 4 * 1 / 3 * 0.1 / 2 * 0.1 / 1) ** 0.25
    weighted = (1.4 / 1.6 * 1 / 3 * 0.1 / 2 * 0.1 / 1) ** 0.25
    found = {name: float(value[0]) for name, value in codebleu_parts(sums).items()}
    assert (found["ngram"], found["weighted-ngram"]) == pytest.approx((ngram, weighted))
    assert codebleu_score(sums)[0] == pytest.approx(np.mean(list(found.values())))


def test_renamed_variables_keep_syntax_and_data_flow() -> None:
    found = parts([REFERENCE], [OTHERS[1]])
    assert (found["syntax"], found["data-flow"]) == (1.0, 1.0)
    assert found["ngram"] < 0.5


def test_a_prediction_without_any_of_the_data_flow_is_not_rewarded_for_it() -> None:
    assert parts(["x = 1\ny = x\nprint(y)"], ["pass"])["data-flow"] == 0
    assert parts(["pass"], ["x = 1\ny = x\nprint(y)"])["data-flow"] == 1


@pytest.mark.parametrize("predicted", OTHERS, ids=range(len(OTHERS)))
def test_whatever_is_predicted_keeps_the_bounds_and_is_no_better_than_the_reference(predicted: str) -> None:
    found = parts([REFERENCE], [predicted])
    assert all(0 <= value <= 1 + 1e-12 for value in found.values())
    perfect = parts([REFERENCE], [REFERENCE])
    assert all(found[name] <= perfect[name] + 1e-12 for name in perfect)


def test_the_order_of_examples_does_not_matter_and_sums_are_those_of_parts() -> None:
    expected, predicted = [REFERENCE] * len(OTHERS), list(OTHERS)
    forwards = text_statistics("codebleu", expected, predicted, language="python")
    backwards = text_statistics("codebleu", expected, predicted[::-1], language="python")
    assert forwards.value == pytest.approx(backwards.value, abs=1e-12)
    twice = text_statistics("codebleu", expected * 2, predicted * 2, language="python")
    assert forwards.on(np.full((1, len(OTHERS)), 2.0))[0] == pytest.approx(twice.value, abs=1e-12)


def test_deeply_nested_code_is_measured() -> None:
    nested = "x = " + "(" * 1100 + "1" + ")" * 1100
    assert math.isfinite(text_statistics("codebleu", [REFERENCE], [nested], language="python").value)


def test_the_value_does_not_depend_on_the_hash_of_names() -> None:
    # The names that x is computed from are put together in a set, once for each turn of the loop.
    pair = ["for a in b:\n    x = x + a + b + c\n    print(x)", "for a in b:\n    x = a + x + c + b\n    print(x)"]
    code = (
        "import sys; from advisor.metrics.codebleu import CodeBleu;"
        "print(CodeBleu('python').rows([sys.argv[1]], [sys.argv[2]])[0, 20:22].tolist())"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, *pair], cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "4", "5")
    ]  # fmt: skip
    assert printed == ["[8.0, 9.0]\n"] * 3


def test_the_language_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="needs the programming language, one of c, c\\+\\+"):
        text_statistics("codebleu", ["x"], ["x"])
    with pytest.raises(UnknownNameError, match="nearest: python"):
        CodeBleu("pyton")
    monkeypatch.setitem(sys.modules, "codebleu", None)
    with pytest.raises(InputError, match=r"metric codebleu: needs 'codebleu'; .* 'peft-advisor\[codebleu\]'"):
        CodeBleu("python")
