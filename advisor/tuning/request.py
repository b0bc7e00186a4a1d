"""What the user asks of `tune`, checked before anything is read, loaded or created."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.catalog.trained_adapters import PART_OPTIONS, options_example
from advisor.data.dataset import DataRequest
from advisor.data.files import SUFFIXES
from advisor.data.splitting import parse_shares
from advisor.errors import InputError, printable
from advisor.recommendation import Recommendation
from advisor.spec import DEFAULT_FINAL_SEEDS, DEFAULT_TRIALS, QuantizationChoice, Repetition
from advisor.trial import OBJECTIVES, Objective, Split
from advisor.tuning.trackers.registry import check_trackers


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRequest:
    """One call of `tune`.

    Attributes:
        train: Data to train on: a file, a folder or dataset of the hub that may hold all splits, or one table to cut.
        valid: Data that decides between trials; None where `train` holds it or `split` makes it.
        test: Data that judges the winner and the baselines, once; None likewise.
        recommendation: File of `recommend --json`, or the record itself; None when `task` is given.
        task: Task slug; None when `recommendation` is given.
        base_model: Only this base model (hub id or local folder), or these, which are then searched; None leaves it to
            the recommendation. One that a given recommendation does not hold is recommended for within its budget.
        quantizations: Storages of the base models' weights that are searched, "none" for unquantized; empty leaves it
            to the recommendation.
        methods: Only these PEFT methods; empty for all that the recommendation names.
        on_adapters: Trained bottleneck adapters to train an adapter on top of, the lowest first: the method
            "adapter-stack". Folders of adapters, or of finished studies whose best one it is.
        fuse: Two or more such adapters to fuse: the method "adapter-fusion".
        n_trials: Trials to run at most, over all runs of the study.
        time_limit_s: Seconds for search, finals and final evaluation, None for no limit.
        gpu_hours: The same in hours of all devices together; the smaller of the two limits counts.
        target: Value of the primary metric on the validation split at which the search ends, None for no target.
        final_seeds: Seeds that the best trials are trained with before one is chosen; 1 trains none of them again.
        objectives: What the search looks for, quality among it. The best quality is delivered in any case.
        max_steps: Optimizer steps of a trial at most, None for the recommended number of epochs.
        output: Run folder; None for `studies/<task>-<base model>` in the working directory.
        seed: Of data order, initialisation and sampler.
        device: Such as "cpu" or "cuda:0"; None for the best there is.
        workers: Processes that train trials, each on a device of its own (on the CPU: with cores of its own); None for
            as many as there is room for.
        ray: Address of a Ray cluster whose nodes train trials: "auto", HOST:PORT or ray://HOST:PORT; None for this
            machine alone. `workers` counts all of them then, this process included where it trains.
        gpus_per_worker: GPUs that the model of one worker is spread over.
        storage: URL of a PostgreSQL database that the study is kept in, so that workers can join; None for study.db in
            the run folder. A password may stand in it here; it is never kept or shown.
        study: Name of the study there; None for that of the run folder.
        pack: Trials that share forward and backward passes; None to measure how many pay, 1 for none.
        command: The command line, for the record.
        columns: Field of an example to the column that holds it, where that is not found by its name.
        split: Shares of train, valid and test such as "80/10/10", to cut one table by; None where splits are there.
        sample: Examples to keep over all splits, None for all.
        dedup: Drop training rows that stand in another split ("exact"), or nearly so too ("near"); None to keep them.
        group_by: Column whose equal values belong in one split.
        full_baseline: Whether full fine-tuning is a baseline, where memory and time have room for it.
        allow_execution: Whether programs that models write may be run, in a sandbox, with the tests of the data.
        track: Trackers that are told of everything, such as "mlflow"; see `advisor.tuning.trackers.registry`.
    """

    train: Path | None
    valid: Path | None
    test: Path | None
    recommendation: Path | Recommendation | None = None
    task: str | None = None
    base_model: str | tuple[str, ...] | None = None
    quantizations: tuple[QuantizationChoice, ...] = ()
    methods: tuple[str, ...] = ()
    on_adapters: tuple[Path, ...] = ()
    fuse: tuple[Path, ...] = ()
    n_trials: int = DEFAULT_TRIALS
    time_limit_s: float | None = None
    gpu_hours: float | None = None
    target: float | None = None
    final_seeds: int = DEFAULT_FINAL_SEEDS
    objectives: tuple[Objective, ...] = ("quality",)
    max_steps: int | None = None
    output: Path | None = None
    seed: int = 0
    device: str | None = None
    workers: int | None = 1
    ray: str | None = None
    gpus_per_worker: int = 1
    storage: str | None = field(default=None, repr=False)
    study: str | None = None
    pack: int | None = None
    command: str = "advisor.tune(...)"
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    sample: int | None = None
    dedup: Repetition | None = None
    group_by: str | None = None
    full_baseline: bool = True
    allow_execution: bool = False
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what does not make sense.

        Raises:
            InputError: Options exclude each other, are missing or out of range.
            UnknownNameError: No such task.
        """
        check_trackers(self.track)
        self._check_source()
        self._check_adapters()
        self._check_files()
        self._check_objectives()
        if unknown := [one for one in self.quantizations if one not in get_args(QuantizationChoice)]:
            raise InputError(f"--quantization: {unknown[0]} is not one of {', '.join(get_args(QuantizationChoice))}")
        for option, value, low in (
            ("--trials", self.n_trials, 1),
            ("--max-steps", self.max_steps, 1),
            ("--final-seeds", self.final_seeds, 1),
            ("--pack", self.pack, 1),
            ("--workers", self.workers, 1),
            ("--gpus-per-worker", self.gpus_per_worker, 1),
        ):
            if value is not None and value < low:
                raise InputError(f"{option}: {value} is less than {low}")
        if self.time_limit_s is not None and not 0 < self.time_limit_s < float("inf"):
            raise InputError(f"--time: {self.time_limit_s:g} seconds is not a time limit; give one such as 30m")
        if self.gpu_hours is not None and not 0 < self.gpu_hours < float("inf"):
            raise InputError(f"--gpu-hours: {self.gpu_hours:g} is not a time limit; give hours above 0, such as 1.5")
        if self.target is not None and not -float("inf") < self.target < float("inf"):
            raise InputError(f"--target: {self.target:g} is not a value of a metric; give one such as 0.9")
        if self.workers != 1 and self.device is not None and self.device != "cpu":
            raise InputError(f"--workers and --device {self.device} exclude each other: each worker has its own device")
        self._check_ray()
        if self.study is not None and self.storage is None:
            raise InputError("--study: names a study in a database; give its --storage too")
        if self.study is not None and not 0 < len(self.study) <= 128:
            raise InputError("--study: a name of 1 to 128 characters is needed")
        if self.storage is not None and self.gpu_hours is not None:
            raise InputError("--gpu-hours and --storage exclude each other: workers may join and leave; give --time")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed: {self.seed} is not between 0 and {2**32 - 1}")

    @property
    def base_models(self) -> tuple[str, ...]:
        """The base models that are asked for; empty leaves it to the recommendation."""
        if self.base_model is None:
            return ()
        return (self.base_model,) if isinstance(self.base_model, str) else self.base_model

    @property
    def limit_s(self) -> float | None:
        """Seconds for everything by whichever limit is the smaller, None for no limit."""
        by_hours_s = None if self.gpu_hours is None else self.gpu_hours * 3600 / self._n_devices
        return min((limit for limit in (self.time_limit_s, by_hours_s) if limit is not None), default=None)

    @property
    def data(self) -> DataRequest:
        """What to read, and what to make of it."""
        named: dict[Split, Path | None] = {"train": self.train, "valid": self.valid, "test": self.test}
        return DataRequest(
            places={split: place for split, place in named.items() if place is not None},
            columns=self.columns,
            split=None if self.split is None else parse_shares(self.split),
            sample=self.sample,
            dedup=self.dedup,
            group_by=self.group_by,
            seed=self.seed,
        )

    @property
    def _n_devices(self) -> int:
        return (self.workers or 1) * self.gpus_per_worker

    def _check_ray(self) -> None:
        if self.device is not None and self.gpus_per_worker > 1:
            raise InputError(
                f"--gpus-per-worker and --device {self.device} exclude each other: a worker has the GPUs that are free"
            )
        if self.ray is None:
            return
        if not self.ray or any(character.isspace() for character in self.ray):
            raise InputError(f"--ray: {printable(self.ray)} is not an address; give auto, HOST:PORT or ray://HOST:PORT")
        if self.device not in (None, "cpu"):
            raise InputError(f"--ray and --device {self.device} exclude each other: Ray says which GPU a worker has")

    def _check_source(self) -> None:
        if self.recommendation is not None:
            if self.task is not None:
                raise InputError("--task and a recommendation file exclude each other: the file names the task")
        elif self.task is None:
            raise InputError("nothing to tune: give a file of `recommend --json`, or --task (and --model), or --demo")
        else:
            find_task(self.task)

    def _check_adapters(self) -> None:
        """Refuse trained adapters beside what does not go with them; their folders are read later."""
        if self.on_adapters and self.fuse:
            raise InputError("--on-adapter and --fuse exclude each other: a study stacks adapters or fuses them")
        if not self.on_adapters and not self.fuse:
            for name in self.methods:
                if name in METHODS and (least := METHODS[name].least_adapters):
                    given = options_example(name, least)
                    raise InputError(f"--method {name}: is made of trained adapters; name them with {given}")
            return
        method = "adapter-stack" if self.on_adapters else "adapter-fusion"
        option = PART_OPTIONS[method]
        if others := [name for name in self.methods if name != method]:
            raise InputError(f"--method {printable(others[0])}: {option} means {method}; leave one of the two out")
        if len(self.fuse) == 1:
            raise InputError(
                f"--fuse {printable(str(self.fuse[0]))}: a fusion is of two adapters or more; name others too"
            )
        if len(self.base_models) > 1:
            raise InputError(f"--model: trained adapters go with one base model; name one beside {option}")

    def _check_objectives(self) -> None:
        if unknown := [one for one in self.objectives if one not in OBJECTIVES]:
            raise InputError(f"--objective: {unknown[0]} is not one of {', '.join(OBJECTIVES)}")
        if "quality" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise InputError(
                f"--objective: {', '.join(self.objectives) or 'none'} given; name quality and, each once, what it is "
                "to be weighed against (memory, latency)"
            )

    def _check_files(self) -> None:
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        missing = [f"--{split}" for split, place in named.items() if place is None]
        # A folder or a dataset of the hub may hold all splits; which it does is known when it is read.
        one_table = self.train is None or str(self.train).lower().endswith(SUFFIXES)
        if missing and (self.train is None or (one_table and self.split is None)):
            raise InputError(
                f"{' and '.join(missing)} missing: validation picks the winner and a test file judges it; give the "
                "files, a folder that has them all, or one table and --split 80/10/10"
            )
        _ = self.data  # refuses shares and numbers that make no sense
