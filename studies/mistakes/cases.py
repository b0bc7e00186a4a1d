"""Typical mistakes, and what the answer to each must say."""

from dataclasses import dataclass
from typing import Literal

from studies.mistakes.world import DATA, SMALL, TASK

TUNE = ("tune", "--task", TASK, "--model", "base")
RECOMMEND = ("recommend", "--task", TASK, "--vram", "24")
OTHER_DATA = ("--train", "train-other.jsonl", "--valid", "valid-other.jsonl", "--test", "test-other.jsonl")

Situation = Literal["alone", "beside", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One command line with a mistake in it.

    Attributes:
        name: What the user did.
        arguments: Of `peft-advisor`, in the folder that `world.make_world` fills.
        says: Parts of the message: what is wrong, where, and what to do (some messages say two of them in one word).
        exit_code: As documented.
        needs_run: Whether it names the finished run.
        is_quick: Whether it ends before PyTorch is loaded.
        situation: "beside" another process that tunes in the same folder, or "interrupted" by Ctrl-C before the first
            rung.
        leaves: Files and folders that may be there afterwards.
    """

    name: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    exit_code: int = 2
    needs_run: bool = False
    is_quick: bool = True
    situation: Situation = "alone"
    leaves: tuple[str, ...] = ()


def _tuned(name: str, *arguments: str, says: tuple[str, ...], is_quick: bool = True, exit_code: int = 2) -> Mistake:
    """Return a mistake of `tune` on the small base model, into a folder of its own."""
    return Mistake(
        name=name,
        arguments=(*TUNE, *arguments, "--output", "new"),
        says=says,
        is_quick=is_quick,
        exit_code=exit_code,
    )


MISTAKES = (
    Mistake(
        name="a command is misspelt",
        arguments=("recomend",),
        says=("no command 'recomend'", "nearest: recommend"),
    ),
    Mistake(
        name="an option is misspelt",
        arguments=("recommend", "--task", TASK, "--vrma", "24"),
        says=("No such option '--vrma'", "Did you mean", "'--vram'"),
    ),
    Mistake(
        name="a task that is like several",
        arguments=("recommend", "--task", "cloning", "--vram", "24"),
        says=("unknown task 'cloning'", "nearest: clone-detection"),
    ),
    Mistake(
        name="the method is misspelt",
        arguments=(*RECOMMEND, "--method", "lorra"),
        says=("unknown method 'lorra'", "nearest: lora"),
    ),
    Mistake(
        name="the base model is misspelt",
        arguments=(*RECOMMEND, "--model", "microsoft/codebret-base"),
        says=("unknown base model 'microsoft/codebret-base'", "nearest: microsoft/codebert-base"),
    ),
    Mistake(
        name="the GPU is misspelt",
        arguments=("recommend", "--task", TASK, "--gpu", "RTX 4091"),
        says=("unknown GPU 'RTX 4091'", "nearest: GeForce RTX 4090", "--vram"),
    ),
    Mistake(
        name="the GPU is not in the catalogue",
        arguments=("recommend", "--task", TASK, "--gpu", "RX 7900"),
        says=("unknown GPU 'RX 7900'", "known are", "--vram 24"),
    ),
    Mistake(
        name="memory with its unit",
        arguments=("recommend", "--task", TASK, "--vram", "24GB"),
        says=("--vram", "'24GB' is not a number of GiB", "without a unit, such as --vram 24"),
    ),
    Mistake(
        name="no memory at all",
        arguments=("recommend", "--task", TASK),
        says=("--vram or --gpu is needed", "--vram 24"),
    ),
    Mistake(
        name="too little memory for the base model",
        arguments=("recommend", "--task", "code-generation", "--vram", "6", "--model", "Qwen/Qwen2.5-Coder-14B"),
        says=("nothing fits in", "the closest is Qwen/Qwen2.5-Coder-14B", "GiB"),
        exit_code=3,
    ),
    Mistake(
        name="a base model that cannot do the task",
        arguments=("recommend", "--task", "code-generation", "--vram", "24", "--model", "microsoft/codebert-base"),
        says=("'microsoft/codebert-base' (encoder-only) cannot do code-generation", "it needs a decoder"),
    ),
    Mistake(
        name="a method that the storage of the base forbids",
        arguments=(*RECOMMEND, "--method", "qlora", "--quantization", "none"),
        says=("--quantization none", "qlora", "--method lora"),
    ),
    _tuned("a data file is not there", *DATA[:5], "gone.jsonl", says=("--test: gone.jsonl does not exist",)),
    _tuned(
        "a folder instead of a file of a split",
        *DATA[:5],
        "mine",
        says=("mine: no file of a split there", "test", ".jsonl"),
    ),
    _tuned("an empty data file", *DATA[:5], "empty.jsonl", says=("empty.jsonl: no rows",)),
    _tuned(
        "a column that is not there",
        *DATA,
        "--map",
        "code1=first",
        says=("train.jsonl: --map code1=first: no such column", "found 'code1', 'code2', 'label'"),
    ),
    _tuned(
        "labels are words in one file and numbers in another",
        *DATA[:3],
        "valid-words.jsonl",
        *DATA[4:],
        says=("valid-words.jsonl", "'no', 'yes'", "'0', '1'"),
    ),
    _tuned("a split is missing", *DATA[:2], says=("--valid and --test missing", "--split 80/10/10")),
    _tuned(
        "validation rows are the training rows",
        *DATA[:3],
        "train.jsonl",
        *DATA[4:],
        says=("--valid: train.jsonl is the file of --train as well", "--split 80/10/10"),
    ),
    _tuned("no trials", *DATA, "--trials", "-3", says=("--trials: -3 is less than 1",)),
    _tuned(
        "time in words", *DATA, "--time", "2 hours", says=("--time: '2 hours' is not a duration", "write it as 30m")
    ),
    _tuned(
        "a device that is not there",
        *DATA,
        "--device",
        "cuda:7",
        says=("--device: cuda:7 is not there", "PyTorch sees 0 CUDA devices", "leave --device out"),
        is_quick=False,
    ),
    Mistake(
        name="a run folder that cannot be written",
        arguments=(*TUNE, *DATA, "--output", "/proc/run"),
        says=("--output: /proc/run cannot be written", "name another folder"),
    ),
    Mistake(
        name="a run folder with other files in it",
        arguments=(*TUNE, *DATA, "--output", "mine"),
        says=("--output: mine holds other files ('thesis.tex')", "name an empty or a new folder"),
    ),
    Mistake(
        name="the run folder of a study with other data",
        arguments=(*TUNE, *OTHER_DATA, *SMALL, "--output", "run"),
        says=("run holds a study with other settings", "the content of the train and valid and test file", "--output"),
        needs_run=True,
    ),
    Mistake(
        name="a second process in the same run folder",
        arguments=(*TUNE, *DATA, *SMALL, "--output", "busy"),
        says=("busy: another `tune` is at work in this folder", "wait for it or name another"),
        is_quick=False,
        situation="beside",
        leaves=("busy",),
    ),
    Mistake(
        name="a model folder without config.json",
        arguments=("tune", "--task", TASK, "--model", "no-config", *DATA, "--output", "new"),
        says=("no-config", "config.json"),
    ),
    Mistake(
        name="a model folder with pickled weights alone",
        arguments=("tune", "--task", TASK, "--model", "pickled", *DATA, "--output", "new"),
        says=("pickled: cannot be loaded", "pytorch_model.bin", "save them as safetensors"),
        is_quick=False,
    ),
    Mistake(
        name="a model that brings its own code",
        arguments=("tune", "--task", TASK, "--model", "own-code", *DATA, "--output", "new"),
        says=("own-code: cannot be loaded", "Python code of its own, which is never run", "name a model of a type"),
        is_quick=False,
    ),
    Mistake(
        name="a model of the hub without a network",
        arguments=("tune", "--task", TASK, "--model", "microsoft/codebert-base", *DATA, "--output", "new"),
        says=("microsoft/codebert-base: cannot be loaded", "the hub cannot be reached", "name a local folder"),
        is_quick=False,
    ),
    Mistake(
        name="a recommendation of a newer version",
        arguments=("tune", "newer.json", *DATA, "--output", "new"),
        says=("newer.json", "schema_version 99"),
    ),
    Mistake(
        name="a recommendation that was cut off",
        arguments=("tune", "broken.json", *DATA, "--output", "new"),
        says=("broken.json: not valid JSON", "give the file that `recommend --output` wrote"),
    ),
    Mistake(
        name="a method that the recommendation does not hold",
        arguments=("tune", "rec.json", *DATA, "--method", "ia3", "--output", "new"),
        says=("--method: ia3 cannot be searched", "the recommendation holds lora"),
    ),
    Mistake(
        name="a data set instead of a recommendation",
        arguments=("tune", "train.jsonl", *DATA, "--output", "new"),
        says=("train.jsonl: not valid JSON", "give the file that `recommend --output` wrote"),
    ),
    Mistake(
        name="predictions of a run that is not finished",
        arguments=("predict", "unfinished", "--input", "test.jsonl"),
        says=("unfinished: not the folder of a finished run (no result.json in it)", "run `tune` to its end first"),
        needs_run=True,
    ),
    Mistake(
        name="predictions of rows without the columns",
        arguments=("predict", "run", "--input", "codes.jsonl"),
        says=("codes.jsonl", "code1", "--map"),
        needs_run=True,
    ),
    Mistake(
        name="a folder as rows to predict",
        arguments=("predict", "run", "--input", "mine"),
        says=("mine: a folder, not a file",),
        needs_run=True,
    ),
    Mistake(
        name="an export of something else",
        arguments=("export", "train.jsonl", "--to", "peft"),
        says=("train.jsonl: not valid JSON", "give the file that `recommend --output` wrote"),
    ),
    Mistake(
        name="an export to a program that is not known",
        arguments=("export", "rec.json", "--to", "keras"),
        says=("'keras'", "known: axolotl"),
    ),
    Mistake(
        name="an export over a file that is there",
        arguments=("export", "rec.json", "--to", "peft", "--output", "train.jsonl"),
        says=("--output train.jsonl: exists already", "name another"),
    ),
    Mistake(
        name="a report on a wrong folder",
        arguments=("report", "mine"),
        says=("mine: not a run folder", "give the folder that `tune` wrote"),
    ),
    Mistake(
        name="an evidence id that does not exist",
        arguments=("evidence", "hu2021lora-999"),
        says=("unknown evidence id 'hu2021lora-999'", "nearest: hu2021lora-"),
    ),
    Mistake(
        name="own evidence that was never added",
        arguments=("evidence", "remove-local", "mystudy"),
        says=("unknown local evidence 'mystudy'", "list-local"),
    ),
    Mistake(
        name="a hyperparameter that the method does not have",
        arguments=("estimate", "--model", "base", "--set", "rank=8"),
        says=("lora has no hyperparameter 'rank'", "nearest: r"),
        is_quick=False,
    ),
    Mistake(
        name="Ctrl-C before the first rung",
        arguments=(*TUNE, *DATA, *SMALL, "--output", "stopped"),
        says=("interrupted",),
        exit_code=130,
        is_quick=False,
        situation="interrupted",
        leaves=("stopped",),
    ),
)
