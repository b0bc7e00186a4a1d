"""`tune`: from a recommendation and data to an adapter that was compared, checked and reported.

This package joins search, training and report; it decides nothing about trials and trains nothing itself.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from advisor.recommendation import Recommendation
from advisor.result import TuningResult
from advisor.spec import DEFAULT_FINAL_SEEDS, DEFAULT_TRIALS, QuantizationChoice, Repetition
from advisor.trial import OBJECTIVES, Objective
from advisor.tuning.data import read_data
from advisor.tuning.folder import check_free, check_ours, check_writable, default_folder
from advisor.tuning.planning import rung_steps
from advisor.tuning.programs import task_as_measured
from advisor.tuning.request import TuningRequest
from advisor.tuning.shared_study import address_of, check_storage
from advisor.tuning.starting_point import find_starting_point
from advisor.tuning.study_run import StudyRun

__all__ = ["TuningRequest", "prepare", "tune"]


def tune(
    recommendation: Recommendation | Path | None = None,
    *,
    train: Path,
    valid: Path | None = None,
    test: Path | None = None,
    task: str | None = None,
    base_model: str | Sequence[str] | None = None,
    quantizations: Sequence[QuantizationChoice] = (),
    methods: Sequence[str] = (),
    on_adapters: Sequence[Path] = (),
    fuse: Sequence[Path] = (),
    n_trials: int = DEFAULT_TRIALS,
    time_limit_s: float | None = None,
    gpu_hours: float | None = None,
    target: float | None = None,
    final_seeds: int = DEFAULT_FINAL_SEEDS,
    objectives: Sequence[Objective] = ("quality",),
    max_steps: int | None = None,
    output: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    workers: int | None = 1,
    ray: str | None = None,
    gpus_per_worker: int = 1,
    storage: str | None = None,
    study: str | None = None,
    pack: int | None = None,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    sample: int | None = None,
    dedup: Repetition | None = None,
    group_by: str | None = None,
    full_baseline: bool = True,
    allow_execution: bool = False,
    track: Sequence[str] = (),
) -> TuningResult:
    """Search around a recommendation with short trials on your data, and keep the best adapter.

    Everything goes to a run folder: trials, adapter, result and report. The same call on the same folder
    continues where it was interrupted; finished trials are never run again.

    Args:
        recommendation: Of `advisor.recommend`, or a file of `recommend --json`; None to name task and model here.
        train: Data to train on: a file, a folder or dataset of the hub that may hold all splits, or one table to cut.
        valid: Data that decides between trials; None where `train` holds it or `split` makes it.
        test: Data that judges the winner and the baselines, once; None likewise.
        task: Task slug, such as "clone-detection".
        base_model: Hub id or local folder, or several, which are searched; None takes the recommendation's first.
        quantizations: Storages of the base models' weights that are searched, "none" for unquantized; empty for what
            the recommendation names.
        methods: Only these PEFT methods; empty for all that the recommendation names.
        on_adapters: Trained bottleneck adapters to train one on top of, the lowest first: folders of adapters, or of
            finished studies whose best one it is. The method is "adapter-stack" then.
        fuse: Two or more such adapters to fuse; the method is "adapter-fusion" then.
        n_trials: Trials to run at most, over all runs of the study.
        time_limit_s: Seconds for search, finals and final evaluation, None for no limit.
        gpu_hours: The same in hours of all devices together; the smaller of the two limits counts.
        target: Value of the primary metric on the validation split at which the search ends, None for no target.
        final_seeds: Seeds that the best trials are trained with before one is chosen; 1 trains none of them again.
        objectives: What the search looks for: "quality" (the primary metric, high) and, if wanted, "memory" and
            "latency" of prediction (low). With several no trial is pruned. The best quality is delivered in any case;
            the adapters of the front stay in `trials/` of the run folder.
        max_steps: Optimizer steps of a trial at most, None for the recommended number of epochs.
        output: Run folder; None for `studies/<task>-<base model>` in the working directory.
        seed: Of data order, initialisation and sampler.
        device: Such as "cpu" or "cuda:0"; None for the best there is.
        workers: Processes that train trials, each on a device of its own; None for as many as there is room for.
        ray: Address of a Ray cluster whose nodes train trials: "auto", HOST:PORT or ray://HOST:PORT. `workers` counts
            all of them then, this process included where it trains; None for as many as there is room for, and more
            when nodes come.
        gpus_per_worker: GPUs that the model of one worker is spread over.
        storage: URL of a PostgreSQL database to keep the study in, such as "postgresql+psycopg://user@host/database":
            `peft-advisor worker` joins it from other machines. None keeps it in the run folder.
        study: Name of the study there; None for that of the run folder.
        pack: Trials that share forward and backward passes; None to measure how many pay, 1 for none.
        columns: Field of an example to the column that holds it, where that is not found by its name.
        split: Shares of train, valid and test such as "80/10/10", to cut one table by; None where splits are there.
        sample: Examples to keep over all splits, None for all.
        dedup: Drop training rows that stand in another split ("exact"), or nearly so too ("near"); None to keep them.
        group_by: Column whose equal values belong in one split.
        full_baseline: Train all weights too, as a baseline, where memory and time have room for it.
        allow_execution: Run the programs that models write, in a sandbox, with the tests of the data; pass@1 decides
            then. `advisor.execution.protection()` says what the sandbox does not protect this machine from.
        track: Trackers that are told of everything: "mlflow", "tensorboard", "wandb", "trackio". Each needs its package
            and keeps what it is told in the run folder, unless its own environment variables say otherwise.

    Returns:
        What stands in `result.json` of the run folder.

    Raises:
        InputError: Something in the request does not exist or does not make sense; nothing was written.
        AdvisorError: No trial gave a result, or something could not be loaded or written.
    """
    request = TuningRequest(
        recommendation=recommendation,
        train=train,
        valid=valid,
        test=test,
        task=task,
        base_model=base_model if base_model is None or isinstance(base_model, str) else tuple(base_model),
        quantizations=tuple(quantizations),
        methods=tuple(methods),
        on_adapters=tuple(on_adapters),
        fuse=tuple(fuse),
        n_trials=n_trials,
        time_limit_s=time_limit_s,
        gpu_hours=gpu_hours,
        target=target,
        final_seeds=final_seeds,
        objectives=tuple(objectives),
        max_steps=max_steps,
        output=output,
        seed=seed,
        device=device,
        workers=workers,
        ray=ray,
        gpus_per_worker=gpus_per_worker,
        storage=storage,
        study=study,
        pack=pack,
        columns=columns or {},
        split=split,
        sample=sample,
        dedup=dedup,
        group_by=group_by,
        full_baseline=full_baseline,
        allow_execution=allow_execution,
        track=tuple(track),
    )
    return prepare(request).finish()


def prepare(request: TuningRequest, *, clock: Callable[[], float] = time.time) -> StudyRun:
    """Check everything that can be checked without loading a model; nothing is written.

    Args:
        request: What is asked.
        clock: Seconds since the epoch.

    Raises:
        InputError: See `tune`.
    """
    from advisor.search import StudySettings, check_settings

    began_s = clock()
    start = find_starting_point(request)
    recommended = start.recommended
    folder = request.output or default_folder(
        start.task.slug, *(one.base_model for one in start.bases), quantizations=request.quantizations,
        composed=recommended.method if recommended.adapters else None,
    )  # fmt: skip
    check_writable(folder)
    check_ours(folder)
    check_free(folder)
    data = read_data(request, start.task)
    task, lines = task_as_measured(start.task, data.files, allow_execution=request.allow_execution)
    start, data = replace(start, task=task), data.with_warnings(lines)
    settings = StudySettings(
        task=start.task.slug,
        base_model=recommended.base_model,
        metric=start.task.primary_metric,
        data={split: file.sha256 for split, file in data.files.items()},
        seed=request.seed,
        rung_steps=rung_steps(recommended, data.n_examples["train"], request.max_steps),
        space=start.space,
        warm_starts=start.warm_starts,
        objectives=tuple(one for one in OBJECTIVES if one in request.objectives),
    )
    address = address_of(request, folder)
    if address is None:
        check_settings(folder, settings)
    else:
        check_storage(address, folder, settings)
    return StudyRun(
        request=request,
        start=start,
        data=data,
        folder=folder,
        settings=settings,
        clock=clock,
        began_s=began_s,
        address=address,
    )
