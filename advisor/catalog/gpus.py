"""GPUs: how much memory training may take on each, which arithmetic it has, and how fast that is."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from advisor.catalog.files import read_rows
from advisor.errors import UnknownNameError

# Bytes that a desktop, the driver's own structures and fragmentation may hold: no datasheet states them. Where
# the total shown by nvidia-smi is known it is 94 % (T4, A10, L4, L40S) to 100 % of the marketing figure, so 93 % is
# the safe side when it is not. The CUDA context is part of the estimate (feasibility.memory), not of this margin.
USABLE_SHARE = 0.93
# Share of the letters and digits that a mistyped name has in common with the right one: one of five or six is wrong.
_SIMILAR = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU model.

    Attributes:
        name: Name in the catalogue.
        aliases: Lower-case names that mean the same.
        vram_gb: Memory in marketing gigabytes.
        vram_usable_gib: Total shown by nvidia-smi in GiB, None when not seen.
        supports_bf16: Native bfloat16; None when not known.
        vendor: "nvidia", "amd" or "apple".
        memory_bandwidth_gb_s: Datasheet, in 10^9 bytes per second.
        bf16_tflops_dense: Matrix products in bfloat16, datasheet figure without sparsity, 10^12 operations per second.
        fp16_tflops_dense: The same in float16.
        fp32_tflops: Float32 outside of matrix units, as PyTorch multiplies unless TF32 is switched on.
        compute_capability: CUDA's, such as "8.9"; the architecture ("gfx90a", "mps") of other vendors.
        tdp_w: Power limit in watts.
        notes: Oddities.

    Figures are None when not known.
    """

    name: str
    aliases: tuple[str, ...]
    vram_gb: float
    vram_usable_gib: float | None
    supports_bf16: bool | None
    vendor: str
    memory_bandwidth_gb_s: float | None = None
    bf16_tflops_dense: float | None = None
    fp16_tflops_dense: float | None = None
    fp32_tflops: float | None = None
    compute_capability: str | None = None
    tdp_w: float | None = None
    notes: str = ""

    @property
    def usable_gib(self) -> float:
        """GiB that training may take."""
        if self.vram_usable_gib is not None:
            return self.vram_usable_gib
        return usable_gib(self.vram_gb)


def usable_gib(vram: float) -> float:
    """GiB that training may take of a device sold (or given) as `vram` GB or GiB."""
    return vram * USABLE_SHARE


def all_gpus() -> tuple[Gpu, ...]:
    """Return every GPU of the catalogue."""
    return tuple(_catalogue())


def find_gpu(name: str) -> Gpu:
    """Return the GPU of that name or alias (letter case, spaces, hyphens and "NVIDIA" do not matter).

    Raises:
        UnknownNameError: No such GPU; the message has the nearest names.
    """
    wanted = _plain(name)
    for gpu in _catalogue():
        if wanted in {_plain(known) for known in (gpu.name, *gpu.aliases)}:
            return gpu
    near, memory = _near(name), "give its memory in GiB, such as --vram 24"
    hint = f"or {memory}" if near else f"known are {_range()}; for any other {memory}"
    raise UnknownNameError("GPU", name, [gpu.name for gpu in _catalogue()], hint, near=near)


def _near(name: str) -> list[str]:
    """Return up to three GPUs that may be meant: similar as `find_gpu` compares, or with the name among their words.

    What is similar to the whole name in the catalogue is not enough: every "RTX" is similar to any other.
    """
    from difflib import get_close_matches  # only on the error path

    plain = {_plain(known): gpu.name for gpu in _catalogue() for known in (gpu.name, *gpu.aliases)}
    found = [plain[one] for one in get_close_matches(_plain(name), plain, n=6, cutoff=_SIMILAR)]
    words = set(name.lower().split())
    found += [gpu.name for gpu in _catalogue() if words and words <= set(gpu.name.lower().split())]
    return list(dict.fromkeys(found))[:3]


def _range() -> str:
    """Name the first and the last GPU of each vendor in the catalogue, which lists them by age."""
    by_vendor: dict[str, list[str]] = {}
    for gpu in _catalogue():
        by_vendor.setdefault(gpu.vendor, []).append(gpu.name)
    titles = {"nvidia": "NVIDIA ", "amd": "AMD "}
    return ", ".join(f"{titles.get(vendor, '')}{names[0]} to {names[-1]}" for vendor, names in by_vendor.items())


def _plain(name: str) -> str:
    words = name.lower().replace("-", " ").replace("_", " ").split()
    # Joined without spaces, so that "rtx3090" is known too.
    return "".join(word for word in words if word not in ("nvidia", "geforce", "tesla", "amd"))


@cache
def _catalogue() -> tuple[Gpu, ...]:
    return tuple(_from_row(row) for row in read_rows("gpus.jsonl"))


def _from_row(row: dict[str, Any]) -> Gpu:
    return Gpu(
        name=row["name"], aliases=tuple(row["aliases"]), vram_gb=row["vram_gb"], vram_usable_gib=row["vram_usable_gib"],
        supports_bf16=row["supports_bf16"], vendor=row["vendor"], memory_bandwidth_gb_s=row["memory_bandwidth_gb_s"],
        bf16_tflops_dense=row["bf16_tflops_dense"], fp16_tflops_dense=row["fp16_tflops_dense"],
        fp32_tflops=row["fp32_tflops"], compute_capability=row["compute_capability"], tdp_w=row["tdp_w"],
        notes=row["notes"] or "",
    )  # fmt: skip
