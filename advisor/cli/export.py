"""`peft-advisor export`: hand a candidate to another program."""

from pathlib import Path

import click

SCHEMA_VERSION = 1
_NAMES = "peft|transformers|trl|llama-factory|axolotl|unsloth|ms-swift|torchtune|ludwig|merged"


@click.command(name="export")
@click.argument("source", metavar="RECOMMENDATION.json|DIR", type=click.Path(path_type=Path))
@click.option("--to", "name", metavar=f"[{_NAMES}]", required=True, help="Program that shall train it, or merged.")
@click.option("--rank", type=int, metavar="N", help="Which candidate of a recommendation.  [default: 1, the first]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Write the file there (in a folder: under its usual name) instead of printing it.",
)
@click.option(
    "--dtype", metavar="[fp32|fp16|bf16]", help="Type of merged weights.  [default: that of the base model's weights]"
)
@click.option("--json", "as_json", is_flag=True, help="Print names and texts of the files as JSON, or their paths.")
def command(source: Path, name: str, rank: int | None, output: Path | None, dtype: str | None, as_json: bool) -> None:
    """Write a script or configuration with which another program trains a candidate, or merged weights.

    RECOMMENDATION.json is what `recommend --json` printed; DIR is the folder of a finished `tune`, whose best trial is
    exported. What the other program cannot express is said in a comment of the file. Nothing is trained.

    With `--to merged` DIR is such a folder or that of any PEFT adapter. The adapter is merged into the base model's
    weights, and transformers loads the folder that is written without PEFT.

    \b
    Example: peft-advisor export rec.json --to trl --output train.py
    """
    from advisor.errors import InputError
    from advisor.exports import MERGED, export, find_target, read_plan

    if name == MERGED:
        _write_merged(source, rank, output, dtype, as_json)
        return
    if dtype is not None:
        raise InputError(f"--dtype: is for --to {MERGED}; a candidate has a precision of its own")
    target = find_target(name)
    files = export(read_plan(source, rank), target)
    if output is None and len(files) > 1 and not as_json:
        raise InputError(f"{target.title} needs {len(files)} files ({', '.join(files)}): give --output FOLDER")
    paths = _write(files, output) if output is not None else None
    if as_json:
        click.echo(_as_json(target.name, files, paths), nl=False)
    elif paths is None:
        click.echo(files[target.file_name], nl=False)
    else:
        for path in paths:
            click.echo(path)


def _write_merged(source: Path, rank: int | None, output: Path | None, dtype: str | None, as_json: bool) -> None:
    from advisor.errors import InputError

    if not source.is_dir():
        raise InputError(f"{source}: nothing trained to merge; give the folder of a finished `tune` or of an adapter")
    if rank is not None:
        raise InputError(f"--rank {rank}: a folder has one adapter; leave it out")
    if output is None:
        raise InputError("merged weights are a folder: give --output FOLDER")
    from advisor.tuning.merging import prepare_merge

    plan = prepare_merge(source, output, dtype=dtype)
    click.echo("Loading PyTorch and the base model ...", err=True)
    summary = plan.write()
    for note in summary.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        import json

        from advisor import records

        rows = [{"name": file, "path": str(output / file)} for file in summary.files]
        said = {"schema_version": SCHEMA_VERSION, "to": "merged", "files": rows, "merged": records.to_plain(summary)}
        click.echo(json.dumps(said, indent=2))
        return
    for file in summary.files:
        click.echo(output / file)


def _as_json(target: str, files: dict[str, str], paths: list[Path] | None) -> str:
    """Return the files with their texts, or with their paths where they were written."""
    import json

    rows = [
        {"name": name, "text": text} if paths is None else {"name": name, "path": str(path)}
        for (name, text), path in zip(files.items(), paths or files, strict=True)
    ]
    return json.dumps({"schema_version": SCHEMA_VERSION, "to": target, "files": rows}, indent=2) + "\n"


def _write(files: dict[str, str], output: Path) -> list[Path]:
    """Write one file there, or several (and any into a folder) below it, under their names."""
    from advisor import durable
    from advisor.errors import InputError

    is_folder = output.is_dir() or len(files) > 1
    paths = {output / name if is_folder else output: text for name, text in files.items()}
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None:
        raise InputError(f"--output {taken}: exists already; name another, or remove it")
    try:
        if is_folder:
            output.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            durable.write_text(path, text)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written ({error.strerror or error})") from error
    return list(paths)
