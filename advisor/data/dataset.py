"""A whole dataset as the user asked for it: found, read, cut, sampled, rid of repeated rows, in that order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from advisor.catalog.tasks import Task
from advisor.data.checks import check_data
from advisor.data.examples import Example, ExampleFile, digest_of, examples_of, label_counts
from advisor.data.files import read_rows
from advisor.data.findings import DataReport
from advisor.data.sources import SPLIT_NAMES, Part, Source, find_source
from advisor.data.splitting import Shares, drop_repeated, sample_examples, split_examples
from advisor.data.token_lengths import TokenCounter
from advisor.errors import DataError, InputError, printable
from advisor.spec import Repetition
from advisor.trial import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """What to read, and what to make of it.

    Attributes:
        places: File, folder or name on the hub by split; one place for "train" may bring all splits.
        columns: Field to column, as `--map` gives them.
        split: Shares to cut the training rows into the splits that are missing; None to leave them.
        sample: Examples to keep over all splits; None for all.
        dedup: Drop training rows that stand in another split ("exact"), or nearly so too ("near"); None to keep them.
        group_by: Column whose equal values stay in one split; where splits are given, those that do not are reported.
        seed: Decides between equals in splits and sample.
    """

    places: Mapping[Split, str | Path]
    columns: Mapping[str, str] = field(default_factory=dict)
    split: Shares | None = None
    sample: int | None = None
    dedup: Repetition | None = None
    group_by: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what does not make sense.

        Raises:
            InputError: There is nothing to read, or a number is out of range.
        """
        if not self.places:
            raise InputError("no data: give --train FILE, a folder, or a dataset of the hub")
        if self.sample is not None and self.sample < 1:
            raise InputError(f"--sample: {self.sample} is less than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """An entry of a codebase, which a code search searches."""

    code_id: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Splits that were read.

    Attributes:
        files: By split; `path` and `sha256` are those of a file only where all its rows are there.
        codebase: What a code search searches; empty where the dataset has none.
        changes: What was done to the rows, one line each.
    """

    files: Mapping[Split, ExampleFile]
    codebase: tuple[Code, ...] = ()
    changes: tuple[str, ...] = ()


def read_dataset(request: DataRequest, task: Task) -> Dataset:
    """Read all splits there are and change them as asked.

    Raises:
        InputError: A place does not exist, or there is nothing to cut or to drop from.
        DataError: Rows cannot be used; one line that names file, lines and fields.
    """
    _refuse_file_of_two_splits(request.places)
    parts, codebase = _parts(request)
    files = {
        split: examples_of(
            part.rows(), task, name=part.name, file=part.file, columns=request.columns, group_by=request.group_by
        )
        for split, part in parts.items()
    }
    changes: list[str] = []
    if request.split is not None:
        files = _cut(files, request, request.split, task, changes)
    if request.sample is not None:
        n_before = _n_rows(files)
        kept = sample_examples(
            {split: file.examples for split, file in files.items()}, request.sample, task, seed=request.seed
        )
        files = _changed(files, kept, task, f"sample {request.sample}")
        changes.append(f"{_n_rows(files)} of {n_before} rows kept (sample by label, seed {request.seed})")
    if request.dedup is not None:
        files = _without_repeated(files, request.dedup, task, changes)
    return Dataset(files=files, codebase=_codebase(codebase), changes=tuple(changes))


def _refuse_file_of_two_splits(places: Mapping[Split, str | Path]) -> None:
    """Refuse to judge what was learnt by the very rows that it was learnt from."""
    first: dict[Path, Split] = {}
    for split, place in places.items():
        path = Path(place).resolve()
        if path.is_file() and (other := first.setdefault(path, split)) != split:
            raise InputError(
                f"--{split}: {place} is the file of --{other} as well; name a file with other rows, or cut this one "
                f"with --{other} {place} --split 80/10/10 alone"
            )


def read_codebase(path: Path) -> tuple[Code, ...]:
    """Read a file of code that is searched: rows with `code_id` (or `id`) and `code`.

    Raises:
        DataError: It cannot be read, has no rows, or holds one that is no code with an id of its own.
    """
    entries = _codebase(Part(name=str(path), rows=lambda: read_rows(path), file=path))
    if not entries:
        raise DataError(f"{path}: no rows; expected fields code_id and code")
    return entries


def report_on(dataset: Dataset, task: Task, *, counter: TokenCounter | None = None) -> DataReport:
    """Run all checks on a dataset; see `check_data`."""
    code_ids = frozenset(entry.code_id for entry in dataset.codebase) if dataset.codebase else None
    return check_data(dataset.files, task, code_ids=code_ids, counter=counter, changes=dataset.changes)


def _parts(request: DataRequest) -> tuple[dict[Split, Part], Part | None]:
    """Return the rows of each split, and those of a codebase."""
    sources = {split: _named(split, place) for split, place in request.places.items()}
    codebase = next((source.codebase for source in sources.values() if source.codebase is not None), None)
    if len(sources) == 1:
        split, source = next(iter(sources.items()))
        if not source.is_whole and split == "train":
            return {name: source.parts[name] for name in SPLIT_NAMES if name in source.parts}, codebase
    return {split: _part(split, sources[split]) for split in SPLIT_NAMES if split in sources}, codebase


def _named(split: Split, place: str | Path) -> Source:
    try:
        return find_source(place)
    except DataError:
        raise
    except InputError as error:
        raise InputError(f"--{split}: {error}") from error


def _part(split: Split, source: Source) -> Part:
    if source.is_whole:
        return source.parts["train"]
    if split not in source.parts:
        raise DataError(f"--{split}: {source.name} has no {split} split (it has {', '.join(source.parts)})")
    return source.parts[split]


def _cut(
    files: Mapping[Split, ExampleFile], request: DataRequest, shares: Shares, task: Task, changes: list[str]
) -> dict[Split, ExampleFile]:
    """Cut the training rows into the splits that are missing."""
    if "valid" in files or "train" not in files:
        raise InputError(f"--split: {', '.join(files)} are there already; it cuts one table, or train beside test")
    wanted: tuple[Split, ...] = ("train", "valid") if "test" in files else ("train", "valid", "test")
    if "test" in wanted and shares.test is None:
        raise InputError("--split: no test split is there, so give three shares such as 80/10/10")
    whole = files["train"]
    cut = split_examples(whole.examples, task, shares.of(wanted), seed=request.seed)
    made = {split: replace(whole, path=f"{whole.path}[{split}]", warnings=()) for split in wanted}
    made["train"] = replace(made["train"], warnings=whole.warnings)
    kind = f"by {request.group_by}" if request.group_by else "by label" if whole.label_counts else "by chance"
    sizes = ", ".join(f"{split} {len(cut[split])}" for split in wanted)
    changes.append(f"{whole.path} cut {kind} into {sizes} (seed {request.seed})")
    rest = {split: file for split, file in files.items() if split not in wanted}
    return {**_changed(made, cut, task, None), **rest}


def _without_repeated(
    files: Mapping[Split, ExampleFile], repetition: Repetition, task: Task, changes: list[str]
) -> dict[Split, ExampleFile]:
    if "train" not in files or len(files) < 2:
        raise InputError("--dedup drops train rows that stand in another split: give train and valid or test")
    kept = drop_repeated({split: file.examples for split, file in files.items()}, task, repetition)
    n_dropped = len(files["train"].examples) - len(kept["train"])
    if not kept["train"]:
        raise DataError(f"{files['train'].path}: --dedup leaves nothing: every train row stands in another split")
    which = "stand" if repetition == "exact" else "stand, or nearly so,"
    changes.append(f"{n_dropped} train rows dropped that {which} in another split")
    return _changed(files, kept, task, f"dedup {repetition}")


def _changed(
    files: Mapping[Split, ExampleFile], kept: Mapping[Split, Sequence[Example]], task: Task, how: str | None
) -> dict[Split, ExampleFile]:
    """Return the files with other examples; one that keeps all of its own stays as it is."""
    made = {}
    for split, file in files.items():
        examples = tuple(kept[split])
        if len(examples) == len(file.examples):
            made[split] = file
            continue
        path = file.path if how is None else f"{file.path}[{how}]"
        made[split] = replace(
            file, path=path, sha256=digest_of(examples), examples=examples, label_counts=label_counts(examples, task)
        )
    return made


def _codebase(part: Part | None) -> tuple[Code, ...]:
    if part is None:
        return ()
    entries: dict[str, Code] = {}
    for row in part.rows():
        code_id, code = row.fields.get("code_id", row.fields.get("id")), row.fields.get("code")
        if row.problem is not None or not isinstance(code, str) or isinstance(code_id, bool | float | None):
            raise DataError(f"{part.name}: {row.where}: {row.problem or 'expected fields code_id and code'}")
        if str(code_id) in entries:
            raise DataError(f"{part.name}: {row.where}: code_id {printable(str(code_id), 30)} stands there twice")
        entries[str(code_id)] = Code(code_id=str(code_id), code=code)
    return tuple(entries.values())


def _n_rows(files: Mapping[Split, ExampleFile]) -> int:
    return sum(len(file.examples) for file in files.values())
