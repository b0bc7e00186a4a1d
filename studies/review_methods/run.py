"""Train each of the review's methods once on two datasets, and put them into a table.

    python -m studies.review_methods.run DATA --work DIR [--methods "Base LoRA" …] [--part I --parts N] [--smoke]
    python -m studies.review_methods.run DATA --work DIR --collect

DATA holds `<task>/<dataset>/{train,valid,test}.jsonl`. Every finished run is a line of DIR/runs.jsonl (with parts:
runs-I.jsonl) and is not run again: the same command goes on where it was broken off. `--collect` writes
results/runs.jsonl, results/machine.json and results/table.md.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from advisor import durable
from advisor.catalog.not_offered import NOT_OFFERED
from advisor.catalog.taxonomy import read_taxonomy
from studies.gpu.entry import machine
from studies.review_methods.bases import base_folder
from studies.review_methods.jobs import Job, all_jobs, digests_of, part_of, read_params, setting_of
from studies.review_methods.methods import METHODS
from studies.review_methods.records import Run, append_run, line_of, read_runs
from studies.review_methods.table import detail_table, main_table, shown_metric
from studies.review_methods.training import Place, baseline, has_four_bits, place_of, train

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not there yet, or collect what is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of tasks")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and adapters")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these rows, by the review's names")
    parser.add_argument("--part", type=int, default=0, help="which part, from 0 on")
    parser.add_argument("--parts", type=int, default=1, help="of how many, which may run at the same time")
    parser.add_argument("--smoke", action="store_true", help="two steps on a few rows, to see that every line runs")
    parser.add_argument("--collect", action="store_true", help="run nothing, write the results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where --collect writes")
    options = parser.parse_args(arguments)
    params = read_params(smoke=options.smoke)
    if options.collect:
        collect(options.work, options.results, params)
        return
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    jobs = _wanted(part_of(all_jobs(params), options.part, options.parts), options.methods, parser)
    own = options.work / ("runs.jsonl" if options.parts == 1 else f"runs-{options.part}.jsonl")
    run_all(jobs, options.data, options.work, own, params)


def run_all(jobs: Sequence[Job], data: Path, work: Path, own: Path, params: Mapping[str, Any]) -> None:
    """Run every job that no file of the folder has yet."""
    here = machine("cpu")
    durable.write_text(work / "machine.json", json.dumps(here, indent=1, sort_keys=True) + "\n")
    places: dict[tuple[str, str], Place] = {}
    for number, job in enumerate(jobs, 1):
        if _is_done(job, work, params):
            continue
        if job.method == "qlora" and not has_four_bits():
            print(f"{job.name}: needs bitsandbytes; pip install 'peft-advisor[quantized]'", file=sys.stderr)
            continue
        key = (job.setting, job.base)
        if key not in places:
            setting = setting_of(job.setting, params)
            places[key] = place_of(setting, data, base_folder(setting.architecture, job.base, work), params)
        run = replace(run_one(job, places[key], work), commit=here["commit"], params=digests_of(params)[job.name])
        append_run(own, run)
        said = run.failure or ", ".join(f"{name} {shown_metric(value)}" for name, value in run.metrics.items())
        print(f"{number}/{len(jobs)} {run.name}: {said}; {run.train_s or 0:.0f} s", file=sys.stderr, flush=True)


def run_one(job: Job, place: Place, work: Path) -> Run:
    """Run one job; a failure is a result."""
    folder = adapter_of(job, work)
    plain = Run(
        row=job.row, setting=job.setting, dataset=place.setting.dataset, base_model=_base_name(job, place),
        command=command_of(job, place), metrics={},
    )  # fmt: skip
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if job.kind == "baseline":
            return baseline(job, place, folder, plain)
        below = [work / "adapters" / _file_name(name) for name in job.below]
        return train(job, place, below, folder, plain)
    except Exception as error:  # of whatever library: the other methods go on
        return replace(plain, failure=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    finally:
        if not job.is_kept:
            shutil.rmtree(folder, ignore_errors=True)


def collect(work: Path, results: Path, params: Mapping[str, Any]) -> None:
    """Write runs, machine and table."""
    jobs = all_jobs(params)
    runs = known_runs(work, params)
    ordered = [runs[job.name] for job in jobs if job.name in runs]
    results.mkdir(parents=True, exist_ok=True)
    durable.write_text(results / "runs.jsonl", "".join(f"{line_of(run)}\n" for run in ordered))
    shutil.copyfile(work / "machine.json", results / "machine.json")
    settings = {name: setting_of(name, params) for name in params["settings"]}
    text = f"{main_table(runs, jobs, settings, reasons())}\n\n## Every run\n\n{detail_table(runs, jobs)}\n"
    durable.write_text(results / "table.md", text)
    missing = [job.name for job in jobs if job.name not in runs]
    print(f"{len(ordered)} of {len(jobs)} runs; missing: {', '.join(missing) or 'none'}")


def known_runs(work: Path, params: Mapping[str, Any]) -> dict[str, Run]:
    """Return the runs of all parts by name."""
    found: dict[str, Run] = {}
    for path in sorted(work.glob("runs*.jsonl")):
        found |= read_runs(path, digests_of(params))
    return found


def reasons() -> dict[str, str]:
    """Return why methods of the review are not offered, by their names there."""
    places = {one.review: one.slug for one in read_taxonomy().methods if one.review is not None}
    return {method.review: NOT_OFFERED[places[method.review]] for method in METHODS if not method.is_offered}


def command_of(job: Job, place: Place) -> str:
    """Return how a user would run it."""
    options = {None: f"--method {job.method}", "stack": "--on-adapter DIR", "fusion": "--fuse DIR --fuse DIR"}
    said = "" if job.kind == "baseline" else f" {options[job.composition]}"
    return f"peft-advisor tune --task {place.task.slug} --train DATA/{place.setting.dataset} --model BASE{said}"


def adapter_of(job: Job, work: Path) -> Path:
    """Return where the adapter of a job goes."""
    return work / "adapters" / _file_name(job.name)


def _is_done(job: Job, work: Path, params: Mapping[str, Any]) -> bool:
    # What others stand on must also be there; a failure of a composition may be one of what was below.
    run = known_runs(work, params).get(job.name)
    return run is not None and run.failure is None and (not job.is_kept or adapter_of(job, work).is_dir())


def _wanted(jobs: list[Job], rows: Sequence[str] | None, parser: argparse.ArgumentParser) -> list[Job]:
    """Return the jobs of some rows, with what they stand on; all without rows."""
    if rows is None:
        return jobs
    known = dict.fromkeys(job.row for job in all_jobs(read_params()))
    if unknown := [row for row in rows if row not in known]:
        parser.error(f"--methods: {unknown[0]} is none of {', '.join(known)}")
    chosen = [job for job in jobs if job.row in rows]
    below = {name for job in chosen for name in job.below}
    return [job for job in jobs if job in chosen or job.name in below]


def _base_name(job: Job, place: Place) -> str:
    named = place.setting.architecture.removesuffix("-only")
    return named if job.base == "shipped" else f"{named} with biases"


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


if __name__ == "__main__":
    main()
