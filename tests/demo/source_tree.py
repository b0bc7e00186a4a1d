"""Small trees of packages that tests read instead of the installed ones."""

from pathlib import Path
from random import Random

VERBS = ("load", "merge", "count", "render", "check", "split", "close", "fetch", "order", "trim")
NOUNS = ("table", "queue", "report", "header", "signal", "folder", "window", "record", "packet", "filter")
CALLS = ("open_all", "sort_by", "strip_ends", "push_back", "read_next", "as_text", "walk_up", "drop_last")


def write_packages(root: Path, *, n_packages: int = 6, n_functions: int = 40, seed: int = 0) -> Path:
    """Write packages of small documented functions.

    Args:
        root: Folder that will hold the packages.
        n_packages: Number of packages.
        n_functions: Functions per package.
        seed: Decides what the functions do.

    Returns:
        The same folder.
    """
    rng = Random(seed)
    for number in range(n_packages):
        package = root / f"package{number}"
        package.mkdir(parents=True)
        functions = [_function(rng, f"{number}_{position}") for position in range(n_functions)]
        half = n_functions // 2
        (package / "__init__.py").write_text("\n\n".join(functions[:half]), encoding="utf-8")
        (package / "more.py").write_text("\n\n".join(functions[half:]), encoding="utf-8")
    return root


def _function(rng: Random, mark: str) -> str:
    verb, noun = rng.choice(VERBS), rng.choice(NOUNS)
    first, second, third = rng.sample(CALLS, 3)
    return f'''def {verb}_{noun}_{mark}({noun}, limit={rng.randrange(9)}):
    """{verb.capitalize()} every {noun} that {first.replace("_", " ")} gave, as of mark {mark}.

    More text that is left out.
    """
    # A comment that goes.
    result = []
    size = {rng.randrange(50)}
    for part in {noun}.{first}(limit):
        if part.{second}("{mark}") and size != {rng.randrange(50)}:
            result.append(part.{third}())
    return result or {noun}.{rng.choice(CALLS)}
'''
