"""`peft-advisor push`."""

import json
import os
import subprocess
import sys

import pytest

from advisor.cli.push import text_of
from advisor.report.publishing.summary import PublishSummary, SummaryFile
from tests.cli.test_cli import run
from tests.report import fixtures
from tests.report.publishing import runs


def test_a_dry_run_lists_the_files_with_their_sizes(capsys, tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    code, out, err = run(capsys, "push", str(folder), "--repo", "me/mine", "--dry-run")
    assert (code, err) == (0, "")
    first, *files, total = out.splitlines()
    assert first == "Would upload to me/mine (private): Code clone detection: LoRA on test-org/tiny-code-encoder"
    size = (folder / "best_adapter/adapter_model.safetensors").stat().st_size
    assert f"  adapter_model.safetensors  {size} B".split() in [line.split() for line in files]
    assert total.startswith("5 files, ")


def test_a_dry_run_as_json_is_one_document(capsys, tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    code, out, err = run(
        capsys, "push", str(folder), "--repo", "me/mine", "--public", "--revision", "v2", "--dry-run", "--json"
    )
    plain = json.loads(out)
    assert (code, err) == (0, "")
    assert (plain["repo"], plain["private"], plain["revision"], plain["commit_url"]) == ("me/mine", False, "v2", None)
    sizes = {file["path"]: file["size_bytes"] for file in plain["files"]}
    assert sizes == {path.name: path.stat().st_size for path in (folder / "best_adapter").iterdir()}


def test_an_upload_ends_with_the_page_of_the_commit(capsys, tmp_path, monkeypatch):
    hub = runs.FakeHub()
    monkeypatch.setattr("advisor.report.publishing.hub._logged_in", lambda: hub)
    code, out, _ = run(capsys, "push", str(runs.finished_run(tmp_path / "run")), "--repo", "me/mine")
    assert code == 0
    assert out.startswith("Uploaded to me/mine (private)")
    assert out.endswith("https://hub.invalid/me/mine/commit/1\n")
    assert len(hub.committed) == 5


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [(1023, "1023 B"), (1024, "1.0 KiB"), (5 * 1024**2, "5.0 MiB"), (15_231_271_888, "14.2 GiB")],
)
def test_sizes_are_said_in_units_of_1024(size_bytes, said):
    summary = PublishSummary(
        repo="me/mine", private=False, revision="v2", message="m", size_bytes=size_bytes, warnings=(), commit_url=None,
        files=(SummaryFile(path="model.safetensors", size_bytes=size_bytes, changed=False),),
    )  # fmt: skip
    assert text_of(summary) == (
        f"Would upload to me/mine (public, branch v2): m\n  model.safetensors  {said:>10}\n1 file, {said}\n"
    )


def test_warnings_go_to_stderr(capsys, tmp_path):
    base = tmp_path / "models" / "my-base"
    base.mkdir(parents=True)
    folder = runs.local_run(tmp_path / "run", base)
    code, out, err = run(capsys, "push", str(folder), "--repo", "me/mine", "--dry-run", "--json")
    assert code == 0
    assert err.startswith("warning: others cannot load the adapter")
    assert json.loads(out)["warnings"][0] in err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--repo", "mine"], 2, "error: --repo 'mine': not a name on the hub; give OWNER/NAME"),
        ([], 2, "error: Missing option '--repo'."),
        (["--repo", "me/mine"], 1, "--force uploads it all the same"),
    ],
)
def test_a_mistake_is_one_line(capsys, tmp_path, options, code, said):
    failed = fixtures.run_folder(result=fixtures.result(reload_passed=False))
    folder = runs.finished_run(tmp_path / "run", failed)
    found, out, err = run(capsys, "push", str(folder), *options)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_notatoken"}, "error: HF_HUB_OFFLINE is set"),
        ({"HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}, "error: not logged in to the hub"),
        # Port 9 of this machine (discard) has no server: the real library's refusal.
        (
            {"HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_notatoken", "HF_ENDPOINT": "http://127.0.0.1:9"},
            "error: me/mine: the upload failed (ConnectError",
        ),
    ],
)
def test_without_the_hub_the_real_library_s_refusal_is_one_line(tmp_path, settings, said):
    folder = runs.finished_run(tmp_path / "run")
    home = {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"}
    command = [sys.executable, "-m", "advisor", "push", str(folder), "--repo", "me/mine"]
    done = subprocess.run(command, env=os.environ | home | settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "notatoken" not in done.stderr
