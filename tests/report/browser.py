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
PHONE = 600  # pixels of width under which the window is a phone's, with a finger in place of a mouse
# Charts are drawn after the page is loaded. Then two frames, so that what follows sees them laid out.
DRAWN = """
  const places = [...document.querySelectorAll("[data-figure]")];
  const missing = () => places.filter((place) => !place.querySelector(".plot-container"));
  const end = performance.now() + 20000;
  return new Promise((done) => {
    const look = () => {
      if (missing().length && performance.now() < end) setTimeout(look, 20);
      else requestAnimationFrame(() => requestAnimationFrame(() => done(missing().length)));
    };
    look();
  });
"""


class Browser:
    """One browser window."""

    def __init__(self, address: str, profile: Path) -> None:
        """Open a window with logs of console and network."""
        self._address = address
        wanted = {
            "browserName": "chrome",
            # A dialog that a page opens stays open, so that `dialog` sees it.
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._session = ""
        opened = self._send("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.version: str = opened["capabilities"]["browserVersion"]
        self._session = "/session/" + opened["sessionId"]

    def open(
        self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False, still: bool = False
    ) -> None:
        """Load a file and wait until it is loaded and its charts are drawn.

        Args:
            path: The page.
            width: Of the window, in CSS pixels; a narrow one is a phone's.
            height: Of the window, in CSS pixels.
            dark: Whether the dark colour scheme is asked for.
            still: Whether reduced motion is asked for.

        Raises:
            RuntimeError: A chart was not drawn within 20 seconds.
        """
        phone = width < PHONE
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.devtools("Emulation.setDeviceMetricsOverride", size)
        self.devtools("Emulation.setTouchEmulationEnabled", {"enabled": phone})
        self.media(dark=dark, still=still)
        self._send("/url", {"url": path.resolve().as_uri()})
        missing = self.run(DRAWN)
        if missing:
            raise RuntimeError(f"{path}: {missing} charts were not drawn; the console says {self.console()}")

    def media(self, *, dark: bool = False, still: bool = False, paper: bool = False) -> None:
        """Set what the page's media queries see: colour scheme, reduced motion, screen or paper."""
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        wanted = [{"name": name, "value": value} for name, value in features.items()]
        self.devtools("Emulation.setEmulatedMedia", {"media": "print" if paper else "", "features": wanted})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a function body in the page, past its content security policy, and return what it returns."""
        return self._send("/execute/sync", {"script": script, "args": arguments})

    def press(self, key: str) -> None:
        """Press and release a key, such as Tab, in the page."""
        for kind in ("keyDown", "keyUp"):
            self.devtools("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, **KEYS.get(key, {})})

    def console(self) -> list[str]:
        """Return what the console said since the last call."""
        return [entry["message"] for entry in self._send("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for since the last call, its own icon and scripts in it left out."""
        entries = [json.loads(entry["message"])["message"] for entry in self._send("/se/log", {"type": "performance"})]
        asked = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("chrome:", "data:"))]

    def dialog(self) -> str | None:
        """Return the text of the dialog that is open (`alert`), None without one."""
        try:
            return str(self._get("/alert/text"))
        except RuntimeError:
            return None

    def dismiss(self) -> None:
        """Close the dialog that is open."""
        self._send("/alert/dismiss", {})

    def devtools(self, command: str, parameters: Mapping[str, Any]) -> Any:
        """Send a command of the Chrome DevTools protocol."""
        return self._send("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path: Path, *, whole: bool = True, quality: int = 70) -> None:
        """Save the whole page, or what the window shows, as PNG or WebP by the name's ending.

        Args:
            path: Where to.
            whole: Whether what lies below the window is in it.
            quality: Of a WebP, in percent.
        """
        kind = path.suffix.removeprefix(".")
        wanted = {"captureBeyondViewport": whole, "format": kind} | ({"quality": quality} if kind == "webp" else {})
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", wanted)["data"]))

    def print(self, path: Path) -> None:
        """Print the page to PDF, A4 with the margins of 1 cm that browsers have by default."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}  # inches
        path.write_bytes(base64.b64decode(self.devtools("Page.printToPDF", paper)["data"]))

    def close(self) -> None:
        """Close the window and end the browser."""
        urllib.request.urlopen(
            urllib.request.Request(self._address + self._session, method="DELETE"), timeout=10
        ).close()

    def _get(self, path: str) -> Any:
        return self._answer(urllib.request.Request(self._address + self._session + path))

    def _send(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._answer(
            urllib.request.Request(
                self._address + self._session + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
        )

    def _answer(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{request.selector}: {error.read().decode()[:500]}") from error


KEYS = {"Tab": {"windowsVirtualKeyCode": 9}, "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"}}


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
