"""A headless Chromium driven over the WebDriver protocol with the standard library only."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


class Browser:
    """One browser window."""

    def __init__(self, address: str, profile: Path) -> None:
        """Open a window with logs of console and network."""
        self._address = address
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._session = ""
        self._session = "/session/" + self._send("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, path: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Load a file at a width in pixels and wait until it is loaded."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.devtools("Emulation.setDeviceMetricsOverride", size)
        self.devtools("Emulation.setEmulatedMedia", scheme)
        self._send("/url", {"url": path.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Run a function body in the page and return what it returns."""
        return self._send("/execute/sync", {"script": script, "args": []})

    def console(self) -> list[str]:
        """Return what the console said since the last call."""
        return [entry["message"] for entry in self._send("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for since the last call."""
        entries = [json.loads(entry["message"])["message"] for entry in self._send("/se/log", {"type": "performance"})]
        return [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]

    def devtools(self, command: str, parameters: Mapping[str, Any]) -> Any:
        """Send a command of the Chrome DevTools protocol."""
        return self._send("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        shot = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """Close the window and end the browser."""
        urllib.request.urlopen(
            urllib.request.Request(self._address + self._session, method="DELETE"), timeout=10
        ).close()

    def _send(self, path: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            self._address + self._session + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()[:500]}") from error


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Start chromedriver and a browser, and end both."""
    assert DRIVER is not None
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert driver.stdout is not None
        port = next(line.split()[-1].rstrip(".") for line in driver.stdout if "started successfully on port" in line)
        browser = _connect(f"http://127.0.0.1:{port}", profile)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=10)


def _connect(address: str, profile: Path, attempts: int = 50) -> Browser:
    for _ in range(attempts):
        try:
            return Browser(address, profile)
        except urllib.error.URLError:
            time.sleep(0.1)  # the port is announced a moment before it listens
    raise RuntimeError("chromedriver does not answer")
