"""`export --to merged`: an adapter in the weights of its base model, as a folder that transformers loads by itself.

What can be known without PyTorch is checked first (`prepare_merge`). The folder is written beside its place, loaded
from there as a user would, compared with the adapter, and only then given its name.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from advisor import durable
from advisor.catalog.methods import find_method
from advisor.catalog.tasks import head_of
from advisor.errors import AdvisorError, InputError, printable
from advisor.exports.merged import ADAPTER_CONFIG, MergeSource, cannot_be_merged, check_mergeable, read_adapter
from advisor.spec import GIB, Architecture, Precision
from advisor.tuning.prediction.finished_run import RESULT, FinishedRun, read_finished_run

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from advisor.modeling.base import BaseModel, BaseRequest

CARD = "README.md"
_WHAT_IT_NEEDS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSummary:
    """What was written.

    Attributes:
        output: The folder.
        files: Names in it.
        dtype: Of the weights.
        model_class: Class of transformers that loads them.
        base_model: As the adapter names it.
        revision: Commit or branch of the base model, None where there is none.
        distance: Largest distance of the answers from the adapter's, as a share of their length.
        tolerance: Most that was allowed.
        notes: What the reader must know, such as that training saw quantized weights.
    """

    output: str
    files: tuple[str, ...]
    dtype: Precision
    model_class: str
    base_model: str
    revision: str | None
    distance: float
    tolerance: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """A merge whose parts were found.

    Attributes:
        source: The adapter.
        output: Folder that will be made.
        dtype: Of the weights, None for that of the base model.
        run: The finished run that the adapter is of, None for an adapter from elsewhere.
    """

    source: MergeSource
    output: Path
    dtype: Precision | None = None
    run: FinishedRun | None = None

    def write(self) -> MergeSummary:
        """Load, merge, write, check.

        Raises:
            InputError: The base model is not there or of another kind, or the method cannot be merged.
            AdvisorError: The merged weights do not answer as the adapter does; no folder is left.
        """
        from advisor.modeling.base import model_class
        from advisor.modeling.merging import TOLERANCES, distance
        from advisor.tuning.merged_card import merged_card

        request, revision = _request(self)
        notes = tuple(_notes(self, request.weights))
        with _appearing(self.output) as part:
            wanted, tokenizer = _write_weights(self, request, part)
            off = distance(_answers(part, request, tokenizer), wanted)
            tolerance = TOLERANCES[request.weights]
            if not off <= tolerance:
                raise AdvisorError(
                    f"{self.source.folder}: merged in {request.weights} the answers are off by {off:.2g} of their size"
                    f" (allowed: {tolerance:g}), so nothing was written; try --dtype fp32, or keep the adapter"
                )
            summary = MergeSummary(
                output=str(self.output), files=(), dtype=request.weights,
                model_class=model_class(request).__name__, base_model=self.source.base_model, revision=revision,
                distance=off, tolerance=tolerance, notes=notes,
            )  # fmt: skip
            durable.write_text(part / CARD, merged_card(self.source, summary, self.run))
        return replace(summary, files=tuple(sorted(path.name for path in self.output.iterdir())))


def prepare_merge(place: Path, output: Path, *, dtype: str | None = None) -> MergePlan:
    """Find out what is merged; PyTorch is not loaded.

    Args:
        place: Folder of a finished run, or of a saved adapter.
        output: Folder that will be made.
        dtype: Of the merged weights; None for the base model's.

    Raises:
        InputError: Not such a folder, its method cannot be merged, or `output` is taken.
    """
    known = get_args(Precision)
    if dtype is not None and dtype not in known:
        raise InputError(f"--dtype {printable(dtype)}: is none of {', '.join(known)}")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(f"--output {output}: exists already; name another, or remove it")
    run = read_finished_run(place) if (place / RESULT).is_file() else None
    source = read_adapter(place) if run is None else _of_run(run)
    return MergePlan(source=source, output=output, dtype=dtype, run=run)  # type: ignore[arg-type]


def _of_run(run: FinishedRun) -> MergeSource:
    candidate, task = run.candidate, run.task
    method = find_method(candidate.method)
    if method.peft_type is None:
        head = "embedding" if task.form == "retrieval" else head_of(task, candidate.architecture)
        source = MergeSource(
            folder=run.adapter, method=method.slug, peft_type=None, base_model=candidate.base_model, revision=None,
            head=head,
        )  # fmt: skip
    else:
        check_mergeable(method.peft_type, method.slug, run.adapter)
        source = read_adapter(run.adapter)
    return replace(
        source, method=method.slug, label_names=run.label_names, is_multi_label=task.form == "multi-label",
        quantization=candidate.quantization,
    )  # fmt: skip


def _request(plan: MergePlan) -> "tuple[BaseRequest, str | None]":
    """Return how the base model is loaded, and its revision as far as it is known."""
    from advisor.modeling.base import BaseRequest

    source = plan.source
    place = str(source.folder) if source.peft_type is None else _base_at_revision(source)
    config = _config(place, source)
    if getattr(config, "quantization_config", None) is not None:
        raise InputError(
            f"{printable(source.base_model)}: its weights are stored quantized, and merging would round them anew; "
            f"name the model that was quantized in {source.folder / ADAPTER_CONFIG}"
        )
    architecture: Architecture = "encoder-decoder" if config.is_encoder_decoder else "encoder-only"
    if source.head == "causal-lm":
        architecture = "decoder-only"
    request = BaseRequest(
        base_model=place, architecture=architecture, head=source.head, label_names=source.label_names,
        weights=plan.dtype or _own_dtype(config, plan), quantization=None, is_multi_label=source.is_multi_label,
    )  # fmt: skip
    commit = getattr(config, "_commit_hash", None)
    return request, source.revision if source.peft_type is None else commit or source.revision


def _base_at_revision(source: MergeSource) -> str:
    """Return hub id or folder of the base model; a revision is fetched as a folder."""
    folder = Path(source.base_model).expanduser()
    if folder.is_dir() or source.revision in (None, "main"):
        return source.base_model
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(source.base_model, revision=source.revision, allow_patterns=list(_WHAT_IT_NEEDS))
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        from advisor.modeling.load_failures import why_not_loaded

        said = f"{printable(source.base_model)} at revision {printable(str(source.revision))}"
        raise InputError(f"{said}: cannot be had ({why_not_loaded(source.base_model, error)})") from error


def _config(place: str, source: MergeSource) -> "PreTrainedConfig":
    from transformers import AutoConfig

    from advisor.modeling.load_failures import why_not_loaded
    from advisor.modeling.quiet import quiet_libraries

    try:
        with quiet_libraries():
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                str(Path(place).expanduser()), trust_remote_code=False
            )
            return config
    except Exception as error:  # transformers and the hub's client raise a dozen unrelated classes
        if source.peft_type is None:
            raise InputError(f"{place}: {why_not_loaded(place, error)}") from error
        raise InputError(
            f"base model {printable(place)}: cannot be loaded ({why_not_loaded(place, error)}); if it is elsewhere, "
            f"write where into {source.folder / ADAPTER_CONFIG} (base_model_name_or_path)"
        ) from error


def _own_dtype(config: "PreTrainedConfig", plan: MergePlan) -> Precision:
    """Return the type of the base model's weights; of one that was quantized in training, one of 16 bits."""
    from advisor.modeling.devices import DTYPES

    own: Precision = next((name for name, dtype in DTYPES.items() if dtype == config.dtype), "fp32")
    return "bf16" if plan.source.quantization is not None and own == "fp32" else own


def _notes(plan: MergePlan, dtype: Precision) -> Iterator[str]:
    source = plan.source
    if source.quantization is not None:
        bits = source.quantization.removesuffix("bit")
        yield (
            f"The adapter was trained, and its study measured, on the base model quantized to {bits} bits. It was "
            f"merged into the weights before quantization, in {dtype}: answers differ from those of the study, and "
            "differ again if the merged weights are quantized."
        )
    if source.peft_type is None:
        yield "Full fine-tuning: these are its weights as they were trained; nothing was merged."


def _write_weights(
    plan: MergePlan, request: "BaseRequest", part: Path
) -> "tuple[list[torch.Tensor], PreTrainedTokenizerBase]":
    """Merge into `part`; return what the adapter answers, and its tokenizer."""
    import torch

    from advisor.modeling import merging
    from advisor.modeling.base import load_base_model
    from advisor.modeling.quiet import quiet_libraries

    source = plan.source
    base = load_base_model(request, torch.device("cpu"))
    _check_disk(part, merging.weights_bytes(base.model))
    tokenizer = _tokenizer(base, source.folder)
    if source.peft_type is None:
        model = base.model
        wanted = merging.answers_of(model, tokenizer, request)
    else:
        adapted = merging.load_for_merging(base, source.folder)
        wanted = merging.answers_of(adapted, tokenizer, request)
        try:
            model = merging.merge(adapted)
        except merging.UnmergeableError as error:
            raise InputError(cannot_be_merged(source.peft_type, source.method, source.folder, str(error))) from error
    with quiet_libraries():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    return wanted, tokenizer


def _answers(part: Path, request: "BaseRequest", tokenizer: "PreTrainedTokenizerBase") -> "list[torch.Tensor]":
    from advisor.modeling import merging

    return merging.answers_of(merging.reload(part, request), tokenizer, request)


def _tokenizer(base: "BaseModel", folder: Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that was saved with the adapter, else the base model's."""
    if not (folder / "tokenizer_config.json").is_file():
        return base.tokenizer
    from transformers import AutoTokenizer

    from advisor.modeling.quiet import quiet_libraries

    with quiet_libraries():
        saved: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    return saved


def _check_disk(part: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(part).free
    if free_bytes < needed_bytes:
        raise InputError(
            f"--output {part.parent}: the merged weights take {needed_bytes / GIB:.1f} GiB and the disk has "
            f"{free_bytes / GIB:.1f} GiB left; name a folder on another disk"
        )


@contextmanager
def _appearing(output: Path) -> Iterator[Path]:
    """Yield a folder that gets its name when the block ends well, and is removed when it does not."""
    part = output.with_name(output.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        durable.sync_tree(part)
        durable.put_in_place(part, output)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
