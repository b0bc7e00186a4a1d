"""The upload: one commit of exactly the files that were prepared, or none.

The token is that of huggingface_hub's own login or environment; it is neither asked for nor shown. Files that are in
the repository and not in the upload stay there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from advisor.errors import AdvisorError, InputError
from advisor.report.publishing.preparation import Prepared

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
_LONGEST_REASON = 300  # characters


class Hub(Protocol):
    """The part of huggingface_hub's HfApi that is used."""

    def create_repo(self, repo_id: str, *, private: bool, repo_type: str, exist_ok: bool) -> object:
        """Make a repository; nothing happens where it exists."""

    def repo_info(self, repo_id: str, *, repo_type: str) -> Any:
        """Return what the hub knows of a repository: `private` among other things."""

    def create_branch(self, repo_id: str, *, branch: str, repo_type: str, exist_ok: bool) -> None:
        """Make a branch; nothing happens where it exists."""

    def create_commit(
        self, repo_id: str, operations: Sequence[Any], *, commit_message: str, repo_type: str, revision: str | None
    ) -> Any:
        """Upload files and commit them together; what comes back has the page of the commit as `commit_url`."""


def publish(prepared: Prepared, hub: Hub | None = None) -> str:
    """Upload what was prepared.

    Args:
        prepared: The files and where they go.
        hub: Stand-in for the hub, None for the real one.

    Returns:
        Address of the commit's page.

    Raises:
        InputError: The repository can be seen by all, though it should be private.
        AdvisorError: Nobody is logged in, the hub cannot be reached, or it refused.
    """
    from huggingface_hub import CommitOperationAdd

    request = prepared.request
    with _said_in_one_line(request.repo):
        hub = hub or _logged_in()
        hub.create_repo(request.repo, private=request.private, repo_type="model", exist_ok=True)
        # A repository that exists stays as visible as it is.
        if request.private and hub.repo_info(request.repo, repo_type="model").private is False:
            raise InputError(f"--repo {request.repo}: exists and is public; say --public, or name another")
        if request.revision is not None:
            hub.create_branch(request.repo, branch=request.revision, repo_type="model", exist_ok=True)
        operations = [
            CommitOperationAdd(
                path_in_repo=file.path, path_or_fileobj=file.content if file.source is None else str(file.source)
            )
            for file in prepared.files
        ]
        commit = hub.create_commit(
            request.repo, operations, commit_message=prepared.message, repo_type="model", revision=request.revision
        )
    return str(commit.commit_url)


def _logged_in() -> Hub:
    """Return the real hub.

    Raises:
        AdvisorError: No token is there, or the user asked for no network.
    """
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise AdvisorError("HF_HUB_OFFLINE is set, so nothing was uploaded; unset it, or see --dry-run")
    if get_token() is None:
        raise AdvisorError(f"not logged in to the hub, so nothing was uploaded; {_LOGIN}")
    hub: Hub = HfApi(library_name="peft-advisor")
    return hub


@contextmanager
def _said_in_one_line(repo: str) -> Iterator[None]:
    """Say what huggingface_hub and the network raise, whose classes differ between its versions, in one line."""
    try:
        yield
    except AdvisorError:
        raise
    except Exception as error:
        raise AdvisorError(f"{repo}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"the hub does not know the token; {_LOGIN}"
    if status == 403:
        return "the hub refused: the token may not write there; name another owner, or use a token that may"
    first = next(iter(str(error).strip().splitlines()), "")
    said = f"{error.__class__.__name__}: {first}" if first else error.__class__.__name__
    hidden = _without_token(said)
    shown = hidden if len(hidden) <= _LONGEST_REASON else f"{hidden[:_LONGEST_REASON]}..."
    return f"the upload failed ({shown}); the same command tries again"


def _without_token(text: str) -> str:
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "***") if token else text
