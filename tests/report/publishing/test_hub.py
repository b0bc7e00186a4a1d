"""The upload up to the network: what the hub is asked for, and how its refusals are said."""

import base64
import inspect
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from advisor.errors import AdvisorError, InputError
from advisor.report.publishing import PublishRequest, prepare_publication, publish
from tests.report.publishing import runs


def prepared(tmp_path, **options):
    return prepare_publication(PublishRequest(folder=runs.finished_run(tmp_path / "run"), repo="me/mine", **options))


def test_one_commit_of_exactly_the_prepared_files_goes_to_a_private_repository(tmp_path):
    made, hub = prepared(tmp_path), runs.FakeHub()
    assert publish(made, hub) == "https://hub.invalid/me/mine/commit/1"
    assert [name for name, _ in hub.calls] == ["create_repo", "repo_info", "create_commit"]
    assert hub.calls[0][1] == {"repo_id": "me/mine", "private": True, "repo_type": "model", "exist_ok": True}
    assert hub.calls[2][1]["commit_message"] == made.message
    adapter = tmp_path / "run/best_adapter"
    assert hub.committed == {path.name: path.read_bytes() for path in adapter.iterdir()}


def test_changed_copies_are_sent_in_place_of_the_files(tmp_path):
    hub = runs.FakeHub()
    publish(prepared(tmp_path, base_model="org/base"), hub)
    assert b'"base_model_name_or_path": "org/base"' in hub.committed["adapter_config.json"]
    assert b"org/base" not in (tmp_path / "run/best_adapter/adapter_config.json").read_bytes()


def test_a_branch_is_made_first(tmp_path):
    hub = runs.FakeHub()
    publish(prepared(tmp_path, revision="v2", message="second"), hub)
    assert hub.calls[2] == ("create_branch", {"repo_id": "me/mine", "branch": "v2", "repo_type": "model",
                                              "exist_ok": True})  # fmt: skip
    assert hub.calls[3][1] == {"repo_id": "me/mine", "commit_message": "second", "repo_type": "model",
                               "revision": "v2"}  # fmt: skip


def test_nothing_is_sent_to_a_public_repository_unless_asked(tmp_path):
    hub = runs.FakeHub(is_private=False)
    made = prepared(tmp_path)
    with pytest.raises(InputError, match="exists and is public; say --public"):
        publish(made, hub)
    assert hub.committed == {}


def test_a_public_repository_is_made_when_asked(tmp_path):
    hub = runs.FakeHub(is_private=False)
    publish(prepared(tmp_path, private=False), hub)
    assert hub.calls[0][1]["private"] is False
    assert hub.committed


def test_what_is_asked_of_the_stand_in_can_be_asked_of_the_real_hub(tmp_path):
    hub = runs.FakeHub()
    publish(prepared(tmp_path, revision="v2"), hub)
    for name, options in hub.calls:
        operations = {"operations": []} if name == "create_commit" else {}
        inspect.signature(getattr(HfApi, name)).bind(None, **options, **operations)


def test_the_real_library_sends_the_files_and_nothing_else(tmp_path, monkeypatch):
    made = prepared(tmp_path, base_model="org/base")
    with hub_server() as (address, requests):
        api = HfApi(endpoint=address, token="hf_notatoken")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        assert publish(made, api) == f"{address}/me/mine/commit/abc"
    paths = [path for _, path, _ in requests]
    assert paths[0] == "/api/repos/create"
    created = json.loads(requests[0][2])
    assert (created["name"], created["organization"]) == ("mine", "me")
    assert created.get("visibility", created.get("private")) in ("private", True)  # the field's name has changed once
    (body,) = [body for method, path, body in requests if path == "/api/models/me/mine/commit/main"]
    header, *files = [json.loads(line) for line in body.splitlines()]
    assert header["value"]["summary"] == made.message
    assert {one["key"] for one in files} == {"file"}
    sent = {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in files}
    assert sent == {file.path: file.content if file.source is None else file.source.read_bytes() for file in made.files}


class HubHandler(BaseHTTPRequestHandler):
    """Answers as the hub's API does when a repository is made and a few small files are committed to it."""

    def do_GET(self) -> None:
        """Describe the repository."""
        self.answer({"id": "me/mine", "modelId": "me/mine", "private": True, "sha": "0" * 40, "siblings": []})

    def do_POST(self) -> None:
        """Take what is sent."""
        body = self.read()
        if self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif self.path.endswith("/commit/main"):
            self.answer({"commitUrl": f"{self.server.address}/me/mine/commit/abc", "commitOid": "abc"})
        elif self.path.endswith("/validate-yaml"):
            self.answer({"errors": [], "warnings": []})
        else:
            self.answer({"url": f"{self.server.address}/me/mine"})

    def read(self) -> bytes:
        """Return the body, which may come in chunks, and remember the request."""
        length = self.headers.get("Content-Length")
        if length is not None:
            body = self.rfile.read(int(length))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.server.requests.append((self.command, self.path, body))
        return body

    def answer(self, plain: object) -> None:
        """Send JSON."""
        content = json.dumps(plain).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def hub_server():
    """Serve on a free port of this machine; give its address and the requests that came."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    server.address, server.requests = f"http://127.0.0.1:{server.server_port}", []
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.address, server.requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Refused(Exception):
    """An answer of the hub with a status."""

    def __init__(self, status: int) -> None:
        """Keep the status as huggingface_hub's errors do."""
        super().__init__(f"{status} Client Error\n\nDetails over\nmany lines")
        self.response = SimpleNamespace(status_code=status)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refused(401), "the hub does not know the token"),
        (Refused(403), "the hub refused: the token may not write there"),
        (Refused(500), r"the upload failed \(Refused: 500 Client Error\)"),
        (ConnectionError("no route"), r"the upload failed \(ConnectionError: no route\)"),
        (ValueError(""), r"the upload failed \(ValueError\)"),
    ],
)
def test_a_refusal_is_one_line(tmp_path, error, said):
    made = prepared(tmp_path)
    with pytest.raises(AdvisorError, match=f"me/mine: {said}") as caught:
        publish(made, runs.FakeHub(error=error))
    assert "\n" not in str(caught.value)


def test_a_token_in_a_message_is_hidden(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    made = prepared(tmp_path)
    with pytest.raises(AdvisorError, match=r"bad header \*\*\*") as caught:
        publish(made, runs.FakeHub(error=RuntimeError("bad header hf_verysecret")))
    assert "verysecret" not in str(caught.value)


def test_nobody_logged_in_is_said_before_the_network_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    made = prepared(tmp_path)
    with pytest.raises(AdvisorError, match="not logged in to the hub"):
        publish(made)
