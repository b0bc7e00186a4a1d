"""What `doctor` looks at: each check returns findings with what follows from them for the user.

Nothing is changed and no model is loaded; the network is used by `hub_finding` alone.
"""

import os
import re
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from advisor.cores import usable_cores
from advisor.errors import InputError
from advisor.spec import GIB

Level = Literal["ok", "note", "problem"]

LEAST_PYTHON = (3, 11)
# Least versions of what every run needs, as in pyproject.toml; a test compares.
LEAST_VERSIONS = {"torch": "2.6", "transformers": "5.0", "peft": "0.18", "optuna": "5.0"}
HUB_TIMEOUT_S = 3.0
# A base model of 7B parameters in 16 bits takes 14 GiB; a run folder of a small one some 100 MiB.
_ROOMY_CACHE_BYTES = 20 * GIB
_ROOMY_RUN_BYTES = 2 * GIB
_FULL_BYTES = 100 * 1024**2
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
# First compute capability with bf16 in hardware (Ampere): CUDA C++ Programming Guide, table of arithmetic instructions.
_BF16_CAPABILITY = (8, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        value: What was found.
        level: "problem" stops the use of peft-advisor, "note" limits it.
        meaning: What follows for the user, one sentence.
    """

    name: str
    value: str
    level: Level = "ok"
    meaning: str = ""


def python_finding(found: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Check the interpreter's version."""
    value = ".".join(map(str, found))
    if found >= LEAST_PYTHON:
        return Finding(name="python", value=value)
    wanted = ".".join(map(str, LEAST_PYTHON))
    return Finding(name="python", value=value, level="problem", meaning=f"Python {wanted} or later is needed")


def package_findings(installed: Mapping[str, str | None]) -> list[Finding]:
    """Check the packages that every run needs.

    Args:
        installed: Version by name, None where it is not installed.
    """
    return [_package(name, installed.get(name), least) for name, least in LEAST_VERSIONS.items()]


def installed_versions() -> dict[str, str | None]:
    """Return the versions of the packages that every run needs, and of bitsandbytes."""
    return {name: _version(name) for name in (*LEAST_VERSIONS, "bitsandbytes")}


def quantization_finding(bitsandbytes: str | None, *, has_cuda: bool) -> Finding:
    """Say whether base models can be stored in 4 or 8 bits."""
    value = bitsandbytes or "not installed"
    if not has_cuda:
        meaning = "4-bit and 8-bit base models need a CUDA device: `tune` takes unquantized ones here"
        return Finding(name="bitsandbytes", value=value, level="note", meaning=meaning)
    if bitsandbytes is None:
        meaning = "4-bit and 8-bit base models need it: pip install 'peft-advisor[quantized]'"
        return Finding(name="bitsandbytes", value=value, level="note", meaning=meaning)
    return Finding(name="bitsandbytes", value=value, meaning="4-bit and 8-bit base models can be trained on")


def device_findings(torch: Any, *, has_nvidia_driver: bool) -> list[Finding]:
    """Say where `tune` will train.

    Args:
        torch: The module.
        has_nvidia_driver: Whether the system has a driver for NVIDIA's GPUs.
    """
    if torch.cuda.is_available():
        return [_cuda_finding(torch, number) for number in range(torch.cuda.device_count())]
    found = []
    if has_nvidia_driver:
        meaning = f"an NVIDIA driver is here, but PyTorch {torch.__version__} sees no GPU: install its CUDA build"
        found.append(Finding(name="cuda", value="not seen by PyTorch", level="note", meaning=meaning))
    if torch.backends.mps.is_available():
        meaning = "`tune` trains on Apple's GPU in fp32; memory is not measured there and nothing is quantized"
        return [*found, Finding(name="device", value="mps", level="note", meaning=meaning)]
    meaning = "no GPU: `tune` trains on the CPU in fp32, which suits base models of up to some 100M parameters"
    return [*found, Finding(name="device", value="cpu", level="note", meaning=meaning)]


def host_findings() -> list[Finding]:
    """Say how many cores and how much memory this process may use."""
    cores = usable_cores()
    few = "data is prepared and small models are trained slowly" if cores < 4 else ""
    found = [Finding(name="cpu cores", value=str(cores), level="note" if few else "ok", meaning=few)]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found.append(Finding(name="memory", value=f"{size / GIB:.1f} GiB"))
    return found


def disk_findings(working: Path, cache: Path) -> list[Finding]:
    """Say how much room there is for run folders and for downloaded base models."""
    return [
        _disk("disk, working directory", working, _ROOMY_RUN_BYTES, "run folders with adapters go there"),
        _disk("disk, model cache", cache, _ROOMY_CACHE_BYTES, "base models of the hub go there, 2 bytes a parameter"),
    ]


def sandbox_finding() -> Finding:
    """Try the sandbox in which generated programs are run."""
    from advisor.execution import protection

    try:
        found = protection()
    except InputError as error:
        meaning = f"pass@k by running programs is not possible here ({error}); all other metrics are"
        return Finding(name="sandbox", value="not available", level="note", meaning=meaning)
    missing = [line for line in found.lines() if line.startswith("NOT") and "faults of the kernel" not in line]
    walls = [name for name in ("namespaces", "landlock", "seccomp") if getattr(found.walls, name)]
    value = ", ".join(walls) or "limits only"
    if missing:
        return Finding(name="sandbox", value=value, level="note", meaning=f"generated programs are {missing[0]}")
    return Finding(name="sandbox", value=value, meaning="generated programs can be run for pass@k, shut in")


def hub_finding(endpoint: str, environment: Mapping[str, str], timeout_s: float = HUB_TIMEOUT_S) -> Finding:
    """Ask the hub once.

    Args:
        endpoint: Its address.
        environment: Variables that keep libraries off the network are respected.
        timeout_s: How long to wait.
    """
    offline = next((name for name in _OFFLINE if environment.get(name, "").lower() in ("1", "true", "yes", "on")), None)
    local = "only base models in the cache or in a folder of yours can be used"
    if offline is not None:
        return Finding(name="hub", value=f"not asked: {offline} is set", level="note", meaning=local)
    answers: list[str] = []
    # A thread, since looking up the name of the host does not end with the time-out of the request.
    asking = threading.Thread(target=lambda: answers.append(_ask(endpoint, timeout_s)), daemon=True)
    asking.start()
    asking.join(timeout_s)
    said = answers[0] if answers else f"no answer within {timeout_s:g} s"
    if said == "":
        return Finding(name="hub", value="reached", meaning="base models and datasets can be downloaded")
    return Finding(name="hub", value=f"not reached: {said}", level="note", meaning=local)


def has_nvidia_driver() -> bool:
    """Does the system have a driver for NVIDIA's GPUs?"""
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def _package(name: str, found: str | None, least: str) -> Finding:
    if found is not None and _numbers(found) >= _numbers(least):
        return Finding(name=name, value=found)
    meaning = f"{name} {least} or later is needed: pip install '{name}>={least}'"
    return Finding(name=name, value=found or "not installed", level="problem", meaning=meaning)


def _version(name: str) -> str | None:
    """Return the version of a package that can be imported."""
    if find_spec(name) is None:
        return None
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """Return the release of a version: "2.13.0+cpu" is (2, 13, 0)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found.group().split("."))) if found else ()


def _cuda_finding(torch: Any, number: int) -> Finding:
    facts = torch.cuda.get_device_properties(number)
    free, total = torch.cuda.mem_get_info(number)
    capability = (facts.major, facts.minor)
    value = (
        f"{facts.name}, {total / GIB:.1f} GiB ({free / GIB:.1f} free), compute capability"
        f" {capability[0]}.{capability[1]}"
    )
    name = f"cuda:{number}"
    if capability < _BF16_CAPABILITY:
        return Finding(name=name, value=value, level="note", meaning="no bf16: train in fp16 or fp32")
    return Finding(name=name, value=value, meaning="bf16 is there: `tune` trains as recommended")


def _disk(name: str, folder: Path, roomy_bytes: int, use: str) -> Finding:
    nearest = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    try:
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        return Finding(name=name, value=f"unknown ({error.strerror})", level="note", meaning=use)
    value = f"{free / GIB:.1f} GiB free"
    if not os.access(nearest, os.W_OK):
        return Finding(name=name, value=f"{value}, not writable", level="problem", meaning=f"{use}: choose another")
    level: Level = "problem" if free < _FULL_BYTES else "note" if free < roomy_bytes else "ok"
    return Finding(name=name, value=value, level=level, meaning=f"little room: {use}" if level != "ok" else "")


def _ask(endpoint: str, timeout_s: float) -> str:
    """Return why there was no answer, empty when there was one (whatever it says)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=timeout_s):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return " ".join(str(getattr(error, "reason", error)).split())[:120] or type(error).__name__
