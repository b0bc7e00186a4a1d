"""`peft-advisor tune`: search around a recommendation on the user's data."""

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource

from advisor.cli.data_options import data_options
from advisor.cli.task_option import TaskName
from advisor.data.fields import parse_map
from advisor.spec import DEFAULT_FINAL_SEEDS, DEFAULT_TRIALS, QuantizationChoice, Repetition
from advisor.trial import OBJECTIVES, Objective

_FILE = click.Path(path_type=Path)


class Count(click.ParamType[int | None]):
    """A number; `auto` is None, and `off` is 1 where it can be said."""

    name = "N"

    def __init__(self, what: str, *, off: bool = False) -> None:
        self._what = what
        self._words: dict[str, int | None] = {"off": 1, "auto": None} if off else {"auto": None}

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if str(value) in self._words:
            return self._words[str(value)]
        try:
            return int(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number of {self._what}, {' or '.join(self._words)}", param, ctx)


def _is_default(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.DEFAULT


@click.command(name="tune")
@click.argument("recommendation", metavar="[RECOMMENDATION.json]", required=False, type=_FILE)
@click.option("--task", type=TaskName(), metavar="TASK", help="Task, where no RECOMMENDATION.json is given.")
@click.option(
    "--model",
    "models",
    metavar="PATH_OR_ID",
    multiple=True,
    help="Base model: hub id or local folder; may be repeated to search several.",
)
@click.option(
    "--quantization",
    "quantizations",
    type=click.Choice(get_args(QuantizationChoice)),
    multiple=True,
    help="Storage of the base weights; may be repeated to search several.  [default: as recommended]",
)
@click.option("--train", metavar="PLACE", type=_FILE, help="Data to train on: file, folder or dataset of the hub.")
@click.option("--valid", metavar="PLACE", type=_FILE, help="Data that decides between trials.")
@click.option("--test", metavar="PLACE", type=_FILE, help="Data that judges the winner and the baselines, once.")
@data_options
@click.option("--method", "methods", metavar="METHOD", multiple=True, help="Only this PEFT method; may be repeated.")
@click.option(
    "--on-adapter",
    "on_adapters",
    metavar="DIR",
    type=_FILE,
    multiple=True,
    help="Train on top of this trained bottleneck adapter, which stays as it is: folder of an adapter or of a study; "
    "repeat it to stack several, the lowest first.",
)
@click.option(
    "--fuse",
    metavar="DIR",
    type=_FILE,
    multiple=True,
    help="Fuse this trained bottleneck adapter with the others that are named so (AdapterFusion); two or more.",
)
@click.option("--trials", metavar="N", type=int, help=f"Trials at most, over all runs.  [default: {DEFAULT_TRIALS}]")
@click.option("--time", "time_limit", metavar="DURATION", help="Time at most, such as 30m, 90s or 1h30m.")
@click.option("--gpu-hours", metavar="HOURS", type=float, help="Time at most in hours of all devices, such as 1.5.")
@click.option(
    "--target",
    metavar="VALUE",
    type=float,
    help="End the search when a trial reaches this validation metric, such as 0.9.",
)
@click.option(
    "--final-seeds",
    metavar="N",
    type=int,
    help=f"Train the best trials with N seeds each before one is chosen; 1 trains none again.  "
    f"[default: {DEFAULT_FINAL_SEEDS}]",
)
@click.option(
    "--objective",
    "objectives",
    type=click.Choice(OBJECTIVES),
    multiple=True,
    help="What to look for; repeat it to weigh quality against memory and latency of prediction.  [default: quality]",
)
@click.option(
    "--pack",
    metavar="N",
    type=Count("trials", off=True),
    help="Trials in one forward and backward pass: a number, off, or auto to measure how many pay.  [default: auto]",
)
@click.option("--max-steps", metavar="N", type=int, help="Optimizer steps of a trial at most.  [default: all epochs]")
@click.option("--output", metavar="DIR", type=_FILE, help="Run folder.  [default: studies/<task>-<model>]")
@click.option(
    "--seed", metavar="N", type=int, default=0, show_default=True, help="Seed of data order, weights and sampler."
)
@click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: the best there is]")
@click.option(
    "--workers",
    type=Count("workers"),
    metavar="N",
    default=1,
    show_default=True,
    help="Processes that train trials, each on a GPU of its own (without GPUs: on cores of its own); auto for as many "
    "as there is room for.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Train trials on the nodes of this Ray cluster: auto, HOST:PORT or ray://HOST:PORT; --workers is auto then.",
)
@click.option(
    "--gpus-per-worker",
    metavar="N",
    type=int,
    default=1,
    show_default=True,
    help="GPUs that the base model of one worker is spread over, where one has no room for it.",
)
@click.option(
    "--storage",
    metavar="URL",
    envvar="PEFT_ADVISOR_STORAGE",
    help="Keep the study in this PostgreSQL database, so that `peft-advisor worker` can join from other machines.",
)
@click.option("--study", metavar="NAME", help="Name of the study in that database.  [default: that of the run folder]")
@click.option(
    "--allow-execution",
    is_flag=True,
    help="Run the programs that models write, in a sandbox, with the tests of the data: pass@1 decides.",
)
@click.option(
    "--full-baseline/--no-full-baseline",
    default=True,
    show_default=True,
    help="Train all weights too, to compare with, where memory and time have room.",
)
@click.option(
    "--track",
    "trackers",
    metavar="TRACKER",
    multiple=True,
    help="Log everything to mlflow, tensorboard, wandb or trackio too, in the run folder; may be repeated.",
)
@click.option("--demo", is_flag=True, help="Make data and tune a tiny model that is included: minutes, no network.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object; progress stays on stderr.")
def command(
    recommendation: Path | None,
    task: str | None,
    models: tuple[str, ...],
    quantizations: tuple[QuantizationChoice, ...],
    train: Path | None,
    valid: Path | None,
    test: Path | None,
    columns: tuple[str, ...],
    shares: str | None,
    group_by: str | None,
    sample: int | None,
    dedup: Repetition | None,
    methods: tuple[str, ...],
    on_adapters: tuple[Path, ...],
    fuse: tuple[Path, ...],
    trials: int | None,
    time_limit: str | None,
    gpu_hours: float | None,
    target: float | None,
    final_seeds: int | None,
    objectives: tuple[Objective, ...],
    pack: int | None,
    max_steps: int | None,
    output: Path | None,
    seed: int,
    device: str | None,
    workers: int | None,
    ray: str | None,
    gpus_per_worker: int,
    storage: str | None,
    study: str | None,
    allow_execution: bool,
    full_baseline: bool,
    trackers: tuple[str, ...],
    demo: bool,
    as_json: bool,
) -> None:
    """Search around the proposal with short trials on your data; keep the best adapter.

    RECOMMENDATION.json is what `recommend --output` wrote; its best candidate is the first trial. The same command
    again continues a study that was interrupted. Ctrl-C ends the search at the next rung, twice ends it at once.

    \b
    Example: peft-advisor tune rec.json --train pairs.csv --split 80/10/10 --time 2h
    """
    # PyTorch's forward and backward pass have a team of threads each. By default a team that has nothing to do spins
    # and takes the cores from whoever works: on two busy cores 10 steps of the demonstration took 68 s, with this 11.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from advisor import records
    from advisor.durations import parse_duration
    from advisor.tuning import TuningRequest, prepare
    from advisor.tuning.demonstration import Demonstration
    from advisor.tuning.shared_study import checked_storage
    from advisor.tuning.trackers.registry import viewing_command

    time_limit_s = parse_duration(time_limit) if time_limit is not None else None
    if demo:
        needless: dict[str, object] = {"a recommendation file": recommendation, "--model": models or None}
        needless |= {"--quantization": quantizations or None, "--map": columns or None, "--split": shares}
        needless |= {"--group-by": group_by, "--sample": sample, "--dedup": dedup}
        demonstration = Demonstration.of(task, output, needless | {"--train": train, "--valid": valid, "--test": test})
        task, models, output = demonstration.task, (demonstration.base_model,), demonstration.folder
        train, valid, test = demonstration.files.values()
        trials = demonstration.size.n_trials if trials is None else trials
        if time_limit_s is None and gpu_hours is None:
            time_limit_s = demonstration.size.time_limit_s
        final_seeds = demonstration.size.final_seeds if final_seeds is None else final_seeds
        max_steps = demonstration.size.max_steps if max_steps is None else max_steps
    request = TuningRequest(
        recommendation=recommendation,
        task=task,
        base_model=models or None,
        quantizations=quantizations,
        train=train,
        valid=valid,
        test=test,
        methods=methods,
        on_adapters=on_adapters,
        fuse=fuse,
        n_trials=DEFAULT_TRIALS if trials is None else trials,
        time_limit_s=time_limit_s,
        gpu_hours=gpu_hours,
        target=target,
        final_seeds=DEFAULT_FINAL_SEEDS if final_seeds is None else final_seeds,
        objectives=objectives or ("quality",),
        pack=pack,
        max_steps=max_steps,
        output=output,
        seed=seed,
        device=device,
        workers=None if ray is not None and _is_default("workers") else workers,
        ray=ray,
        gpus_per_worker=gpus_per_worker,
        storage=checked_storage(storage),
        study=study,
        columns=parse_map(columns),
        split=shares,
        sample=sample,
        dedup=dedup,
        group_by=group_by,
        allow_execution=allow_execution,
        full_baseline=full_baseline,
        track=trackers,
        command=shlex.join(["peft-advisor", *sys.argv[1:]]),
    )
    if demo:
        click.echo(f"Data of the demonstration: {demonstration.folder / 'data'}", err=True)
        demonstration.write_data(request)
    run = prepare(request)

    from advisor.cli.run_record import run_record
    from advisor.cli.tune_live import plain_console
    from advisor.cli.tune_result import show_result
    from advisor.cli.tune_view import TuneView  # not before the input is found good: it loads Optuna

    with TuneView(plain_console() if as_json else None) as view:
        run.finish(view)
    if as_json:
        click.echo(records.dumps(run_record(run.folder)), nl=False)
    else:
        show_result(run.folder)
    if view.left_by not in (None, signal.SIGINT):  # a scheduler ended it: 0 would tell it that all is done
        sys.exit(128 + int(view.left_by))
    for name in dict.fromkeys(trackers):
        if (shown := viewing_command(name, run.folder)) is not None:
            click.echo(f"Tracked  {shown}", err=True)
