"""What an upload would consist of, checked before anything is sent. Nothing is written, and no network is asked."""

from dataclasses import dataclass, replace
from pathlib import Path

from advisor.candidates import Candidate
from advisor.catalog.tasks import find_task
from advisor.errors import DataError, InputError, ReloadCheckError, printable
from advisor.report.formatting import method_title
from advisor.report.public import found_base_model, is_local, named_base_model, public_name
from advisor.report.publishing.checks import check_texts
from advisor.report.publishing.files import CARD, UploadFile, adapter_files, made_file
from advisor.report.publishing.pages import card_of_base_model, report_files
from advisor.report.run_folder import RunFolder, read_run_folder
from advisor.result import TuningResult

BEST_ADAPTER = "best_adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """What to upload, and where to.

    Attributes:
        folder: Of a finished run.
        repo: Repository on the hub, as OWNER/NAME.
        private: Whether a repository that is made for it can be seen by its owner only.
        revision: Branch, made where there is none; None for the main one.
        message: Of the commit, None for one made from task and method.
        include_report: Upload the reports too, made anew without rows of the data.
        base_model: Hub id that the uploaded files name as base model, None for what the adapter says.
        force: Upload although the adapter did not give its result when it was loaded again.
    """

    folder: Path
    repo: str
    private: bool = True
    revision: str | None = None
    message: str | None = None
    include_report: bool = False
    base_model: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            InputError: A name is none that the hub allows.
        """
        if not _is_hub_id(self.repo) or "/" not in self.repo:
            raise InputError(f"--repo {printable(self.repo)}: not a name on the hub; give OWNER/NAME")
        if self.base_model is not None and (not _is_hub_id(self.base_model) or Path(self.base_model).exists()):
            raise InputError(f"--base-model {printable(self.base_model)}: not an id on the hub; give OWNER/NAME")
        for option, value in (("--revision", self.revision), ("--message", self.message)):
            if value is not None and not value.strip():
                raise InputError(f"{option}: is empty; leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An upload that may be made.

    Attributes:
        request: What was asked.
        files: Sorted by path.
        message: Of the commit.
        warnings: What the user should know, one line each.
    """

    request: PublishRequest
    files: tuple[UploadFile, ...]
    message: str
    warnings: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)


def prepare_publication(request: PublishRequest) -> Prepared:
    """Check a finished run and return what would be uploaded of it.

    Raises:
        DataError: Not a finished run, or a file that must not be uploaded is in its adapter's folder.
        ReloadCheckError: The adapter did not give its result when the study loaded it again, and `force` is off.
    """
    run = read_run_folder(request.folder)
    result, candidate = _finished(run, request.folder)
    adapter = request.folder / BEST_ADAPTER
    if not adapter.is_dir():
        raise DataError(f"{request.folder}: has no {BEST_ADAPTER}; run the same `tune` again, which writes it")
    candidate = replace(candidate, base_model=found_base_model(candidate.base_model, adapter))
    warnings = _reload_warnings(result, adapter, request.force)
    files = {file.path: file for file in adapter_files(adapter, request.base_model)}
    if CARD not in files:
        warnings.append(f"the adapter has no {CARD}: its page on the hub will be empty")
    elif request.base_model is not None:
        files[CARD] = made_file(CARD, card_of_base_model(files[CARD].text(), request.base_model, candidate))
    warnings += _base_model_warnings(adapter, request.base_model)
    if request.include_report:
        files |= {file.path: file for file in report_files(run, adapter)}
        warnings.append("the reports are uploaded without examples, folders and rows of the data")
    kept = tuple(files[path] for path in sorted(files))
    check_texts(kept, run, request.folder)
    title = f"{find_task(result.task).title}: {method_title(candidate.method)} on {public_name(candidate.base_model)}"
    return Prepared(request=request, files=kept, message=request.message or title, warnings=tuple(warnings))


def _finished(run: RunFolder, folder: Path) -> tuple[TuningResult, Candidate]:
    best = run.contender("best trial")
    if run.result is None or best is None or best.candidate is None:
        raise DataError(f"{folder}: not the folder of a finished run; run the same `tune` to its end first")
    return run.result, best.candidate


def _reload_warnings(result: TuningResult, adapter: Path, force: bool) -> list[str]:
    if result.reload_check.passed:
        return []
    said = "did not give its result when the study loaded it again"
    if not force:
        raise ReloadCheckError(f"{adapter}: {said}; nothing was uploaded, --force uploads it all the same")
    return [f"the adapter {said}; it is uploaded because of --force"]


def _base_model_warnings(adapter: Path, base_model: str | None) -> list[str]:
    named = named_base_model(adapter)
    if base_model is not None or named is None or not is_local(named):
        return []
    shown = printable(public_name(named))
    said = f"others cannot load the adapter: its base model {shown} is a folder of this machine; name its id on the hub"
    return [f"{said} with --base-model"]


def _is_hub_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented all the same

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
