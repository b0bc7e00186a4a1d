"""What was or would be uploaded, as a record for programs."""

from dataclasses import dataclass

from advisor.report.publishing.preparation import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryFile:
    """One file.

    Attributes:
        path: In the repository.
        size_bytes: Of what is uploaded.
        changed: Whether a copy is uploaded that differs from the file in the run folder, or was made for it.
    """

    path: str
    size_bytes: int
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSummary:
    """An upload.

    Attributes:
        repo: Repository, as OWNER/NAME.
        private: Whether it was asked to be private.
        revision: Branch, None for the main one.
        message: Of the commit.
        files: Sorted by path.
        size_bytes: Of all files.
        warnings: What the user should know.
        commit_url: Page of the commit, None where nothing was uploaded.
    """

    repo: str
    private: bool
    revision: str | None
    message: str
    files: tuple[SummaryFile, ...]
    size_bytes: int
    warnings: tuple[str, ...]
    commit_url: str | None


def summary_of(prepared: Prepared, commit_url: str | None = None) -> PublishSummary:
    """Return the record of an upload; without a page of the commit it is one that could be made."""
    request = prepared.request
    return PublishSummary(
        repo=request.repo,
        private=request.private,
        revision=request.revision,
        message=prepared.message,
        files=tuple(
            SummaryFile(path=file.path, size_bytes=file.size_bytes, changed=file.source is None)
            for file in prepared.files
        ),
        size_bytes=prepared.size_bytes,
        warnings=prepared.warnings,
        commit_url=commit_url,
    )
