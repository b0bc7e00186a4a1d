"""Our metrics beside the tools they are named after, on committed and on larger real inputs.

    python -m studies.metric_agreement.run --codexglue CHECKOUT [--data FOLDER]

CHECKOUT is a clone of microsoft/CodeXGLUE; FOLDER holds `<task>/<dataset>/test.jsonl` with `source` and `target`.
Needs fuzzywuzzy, Levenshtein and codebleu beside the package's own dependencies.
"""

import argparse
import hashlib
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from studies.gpu.entry import processor
from studies.metric_agreement.cases import Case, committed_cases, text_cases
from studies.metric_agreement.data_flows import N_HASH_SEEDS, our_parts, package_flows, repeatable
from studies.metric_agreement.evaluators import Evaluators
from studies.metric_agreement.inputs import FOLDER, Pair, nearest, read_pairs

RESULTS = Path(__file__).parent / "results"
# Data set of the folder -> its language, where CodeBLEU can parse it.
REAL = {
    "code-summarization/csn-python-cosqa": "",
    "code-completion/py150-line": "",
    "code-completion/javacorpus-line": "",
    "code-translation/codetrans-java-cs": "c#",
    "code-refinement/bugs2fix-small": "java",
    "code-generation/mbpp": "python",
}
N_REAL = 400
TOOLS = ("sacrebleu", "rouge-score", "nltk", "scikit-learn", "codebleu", "tree-sitter", "rapidfuzz", "fuzzywuzzy", "Levenshtein")  # fmt: skip  # noqa: E501


def main() -> None:
    """Measure, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codexglue", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    tools = Evaluators(options.codexglue)
    real = _real_pairs(options.data) if options.data else {}
    functions = read_pairs(FOLDER / "functions.jsonl")
    result: dict[str, Any] = {
        "schema_version": 1,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": processor()},
        "versions": {name: version(name) for name in TOOLS} | {"python": platform.python_version()},
        "inputs": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(FOLDER.iterdir())},
        "committed": [_row(case, tools) for case in committed_cases()],
        "real": [_row(case, tools) for name, pairs in real.items() for case in text_cases(name, pairs)],
        "codebleu": {"demo functions": _codebleu(functions, "python", keep_pairs=True)}
        | {name: _codebleu(pairs, REAL[name]) for name, pairs in real.items() if REAL[name]},
    }
    _print(result)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _real_pairs(folder: Path) -> dict[str, list[Pair]]:
    found = {}
    for name in REAL:
        lines = (folder / name / "test.jsonl").read_text(encoding="utf-8").splitlines()[:N_REAL]
        found[name] = nearest([json.loads(line) for line in lines])
    return found


def _row(case: Case, tools: Evaluators) -> dict[str, Any]:
    ours, theirs = case.ours(), case.theirs(tools)
    return {
        "metric": case.metric, "tool": case.tool, "data": case.data, "n_examples": case.n_examples,
        "theirs": theirs, "ours": ours, "difference": abs(ours - theirs),
    }  # fmt: skip


def _codebleu(pairs: Sequence[Pair], language: str, *, keep_pairs: bool = False) -> dict[str, Any]:
    """Compare the parts of CodeBLEU; data flow pair by pair, where the package does not change with the hash seed."""
    told = package_flows(pairs, language)
    ours, of_pairs = our_parts(pairs, language)
    same = repeatable(told)
    both = [(mine, its) for mine, its in zip(of_pairs, same, strict=True) if mine is not None and its is not None]
    totals = [sum(one.parts) / 4 for one in told]
    flows = [one.parts[3] for one in told]
    row: dict[str, Any] = {
        "language": language,
        "n_examples": len(pairs),
        "theirs": list(told[0].parts[:3]),
        "ours": ours,
        "difference": max(abs(mine - its) for mine, its in zip(ours, told[0].parts[:3], strict=False)),
        "n_hash_seeds": N_HASH_SEEDS,
        "n_with_data_flow": sum(value is not None for value in of_pairs),
        "n_repeatable": len(both),
        "data_flow_difference": max(abs(mine - its) for mine, its in both),
        "data_flow_of_the_package": [min(flows), max(flows)],
        "codebleu_of_the_package": [min(totals), max(totals)],
        "codebleu": sum(ours) / 4,
    }
    return row | ({"data_flow_of_pairs": same} if keep_pairs else {})


def _print(result: dict[str, Any]) -> None:
    for row in (*result["committed"], *result["real"]):
        named = f"{row['metric']:<22} {row['tool']:<33} {row['data']:<36} {row['n_examples']:4}"
        print(f"{named} {row['theirs']:9.4f} {row['difference']:8.1e}")
    for data, row in result["codebleu"].items():
        low, high = row["codebleu_of_the_package"]
        same = f"{row['n_repeatable']} of {row['n_with_data_flow']} pairs that the hash seed does not change"
        print(f"codebleu {data}: n-grams and syntax {row['difference']:.1e}")
        print(f"    data flow {row['data_flow_difference']:.1e} on {same}")
        print(f"    in all: package {low:.5f} to {high:.5f}, ours {row['codebleu']:.5f}")


if __name__ == "__main__":
    main()
