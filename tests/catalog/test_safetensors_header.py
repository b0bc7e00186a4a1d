"""The header of a safetensors file as the library writes it, and what is no header."""

import pytest
import torch
from safetensors.torch import save_file

from advisor.catalog.safetensors_header import LARGEST_BYTES, read_header


def test_tensors_are_those_that_the_library_wrote_and_its_metadata_is_none_of_them(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5, dtype=torch.float16)}, path, metadata={"format": "pt"})
    header = read_header(path)
    assert {name: (said["dtype"], said["shape"]) for name, said in header.tensors.items()} == {
        "a": ("F32", [2, 3]),
        "b": ("F16", [5]),
    }
    assert path.stat().st_size == 8 + header.size_bytes + 2 * 3 * 4 + 5 * 2


@pytest.mark.parametrize(
    "content",
    [b"", b"short", (9).to_bytes(8, "little") + b'{"a":', (2).to_bytes(8, "little") + b"[]",
     (LARGEST_BYTES + 1).to_bytes(8, "little") + b"{}"],
)  # fmt: skip
def test_what_is_no_header_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011  # JSON's own message, or ours
        read_header(path)
