"""Rows that are nearly the same, by the criterion of Allamanis, "The adverse effects of code duplication in machine
learning models of code" (Onward! 2019, arXiv 1812.06469).

Two pieces of code are near duplicates when the sets of their identifiers and literals have a Jaccard similarity of at
least 0.8 and the multisets one of at least 0.7: the defaults of the paper's tool
(github.com/microsoft/near-duplicate-code-detector). Whoever has fewer than 20 such tokens is not compared: two short
texts differ by chance alone. Words count as identifiers, so that prose is compared in the same way.

Which pairs are looked at is decided by MinHash and banding (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of
Massive Datasets", section 3.4): 20 bands of 6 hashes find a pair of similarity 0.8 with probability
1 - (1 - 0.8^6)^20 = 0.998. Every pair found is then compared exactly, so none is reported wrongly. The bands are sorted
instead of put into datasketch's index, whose dictionaries would take gigabytes for a million rows.

Not covered: in a bucket of more than `N_LEADERS` rows each row is compared with the first ones and its predecessor, not
with all, so that near duplicates of somewhat fewer rows may be found in very repetitive data.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_SET_SIMILARITY = 0.8
MIN_MULTISET_SIMILARITY = 0.7
MIN_TOKENS = 20
N_BANDS, N_ROWS = 20, 6
N_LEADERS = 8
_TOKEN = re.compile(
    r"""[^\W\d]\w*|\$\w+|\d[\w.]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""",  # names, variables, numbers, literals
)
_BATCH_ROWS = 2000
_MAX_TOKENS = 20_000  # of a text; what follows is not looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMarks:
    """What each text is near to.

    Attributes:
        near: For every text, the union of the marks of all that it is a near duplicate of; 0 for none.
        near_earlier: The same of those that stand before it.
        n_compared: Texts with enough tokens.
    """

    near: Sequence[int]
    near_earlier: Sequence[int]
    n_compared: int


def tokens_of(text: str) -> list[str]:
    """Return identifiers, words and literals of a text in order."""
    return _TOKEN.findall(text)[:_MAX_TOKENS]


def are_near(first: Counter[str], second: Counter[str]) -> bool:
    """Tell whether two multisets of tokens are near duplicates."""
    common = first.keys() & second.keys()
    if len(common) < MIN_SET_SIMILARITY * (len(first) + len(second) - len(common)):
        return False
    shared = sum(min(first[token], second[token]) for token in common)
    return shared >= MIN_MULTISET_SIMILARITY * (first.total() + second.total() - shared)


def mark_near(texts: Sequence[str], marks: Sequence[int]) -> NearMarks:
    """Find near duplicates among distinct texts.

    Args:
        texts: All texts; those to compare others with first.
        marks: Bits of each text, such as the splits that it stands in.

    Raises:
        InputError: datasketch is not installed.
    """
    compared, bands, sizes = _signatures(texts)
    near, earlier = [0] * len(texts), [0] * len(texts)

    @lru_cache(maxsize=50_000)
    def counted(place: int) -> Counter[str]:
        return Counter(tokens_of(texts[compared[place]]))

    for first, second in _candidates(bands, sizes):
        one, other = compared[first], compared[second]
        known = near[one] | marks[other], near[other] | marks[one], earlier[other] | marks[one]
        if known == (near[one], near[other], earlier[other]):
            continue  # whatever the comparison says, it adds nothing
        if are_near(counted(first), counted(second)):
            near[one], near[other], earlier[other] = known
    return NearMarks(near=near, near_earlier=earlier, n_compared=len(compared))


class _TokenHashes(dict[str, int]):
    """CRC-32 of tokens, each computed once; MinHash mixes it further."""

    def __missing__(self, token: str) -> int:
        value = self[token] = zlib.crc32(token.encode("utf-8", "surrogatepass"))
        return value


def _signatures(texts: Sequence[str]) -> "tuple[list[int], NDArray[np.uint64], NDArray[np.int64]]":
    """Return the texts that have enough tokens, their band keys (texts, bands) and numbers of distinct tokens."""
    import numpy as np

    min_hash = _min_hash()
    mix = np.random.default_rng(0).integers(1, 2**63, N_ROWS, dtype=np.uint64) | np.uint64(1)
    hashes = _TokenHashes()
    compared: list[int] = []
    sizes: list[int] = []
    keys: list[NDArray[np.uint64]] = []
    for start in range(0, len(texts), _BATCH_ROWS):
        batch: list[set[str]] = []
        for place in range(start, min(start + _BATCH_ROWS, len(texts))):
            tokens = tokens_of(texts[place])
            if len(tokens) >= MIN_TOKENS:
                batch.append(set(tokens))
                compared.append(place)
        sizes += map(len, batch)
        made = min_hash.generator(batch, num_perm=N_BANDS * N_ROWS, hashfunc=hashes.__getitem__)
        values = np.array([one.hashvalues for one in made], dtype=np.uint64).reshape(-1, N_BANDS, N_ROWS)
        keys.append((values * mix).sum(axis=2, dtype=np.uint64))  # modulo 2^64: equal bands get equal keys
        if len(hashes) > 2_000_000:
            hashes.clear()
    every = np.concatenate(keys) if keys else np.zeros((0, N_BANDS), np.uint64)
    return compared, every, np.array(sizes, np.int64)


def _min_hash() -> Any:
    try:
        from datasketch import MinHash
    except ImportError as error:
        from advisor.errors import InputError

        raise InputError("near duplicates need a library that is missing: pip install datasketch") from error
    return MinHash


def _candidates(bands: "NDArray[np.uint64]", sizes: "NDArray[np.int64]") -> Iterator[tuple[int, int]]:
    """Yield pairs of places that share a band and whose numbers of tokens do not exclude them; the first is smaller."""
    import numpy as np

    n = len(bands)
    found = np.zeros(0, np.int64)
    for band in range(bands.shape[1]):
        order = np.argsort(bands[:, band], kind="stable")
        sorted_keys = bands[order, band]
        place = np.arange(n)
        starts = np.ones(n, bool)
        starts[1:] = sorted_keys[1:] != sorted_keys[:-1]
        start = np.maximum.accumulate(np.where(starts, place, 0))
        made = []
        for leader in (*(start + k for k in range(N_LEADERS)), place - 1):
            of_bucket = (leader >= start) & (leader < place)
            first, second = order[leader[of_bucket]], order[place[of_bucket]]
            small, large = np.minimum(sizes[first], sizes[second]), np.maximum(sizes[first], sizes[second])
            possible = small >= MIN_SET_SIMILARITY * large
            made.append(first[possible] * n + second[possible])
        found = np.union1d(found, np.concatenate(made))
    for code in found:
        yield int(code) // n, int(code) % n
