"""The special tokens that a tokenizer puts around one text or two, and cutting texts to fit between them.

Tokenizers can truncate by themselves, but they keep what they cut off in overlapping pieces, which takes longer
than tokenizing when texts are much longer than the limit; and cutting ids lets one tokenization serve all lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from advisor.errors import DataError

Ids = NDArray[np.int32]
_SAMPLES = ("value", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around the texts.

    Attributes:
        parts: Special tokens before, between and after the texts: one more than there are texts.
        part_types: Segment id of each part; where a part has several, that of its first token.
        text_types: Segment id of each text.
        has_types: Whether the tokenizer uses segment ids at all.
    """

    parts: tuple[Ids, ...]
    part_types: tuple[int, ...]
    text_types: tuple[int, ...]
    has_types: bool

    @property
    def size(self) -> int:
        """Special tokens in all."""
        return sum(map(len, self.parts))

    def around(self, texts: Sequence[Ids]) -> tuple[Ids, Ids | None]:
        """Return ids, and segment ids if there are any, of framed texts."""
        pieces = [self.parts[0]]
        types = [self.part_types[0]]
        for number, text in enumerate(texts):
            pieces += [text, self.parts[number + 1]]
            types += [self.text_types[number], self.part_types[number + 1]]
        ids = np.concatenate(pieces)
        if not self.has_types:
            return ids, None
        return ids, np.repeat(np.array(types, np.int32), [len(piece) for piece in pieces])


def frame_of(tokenizer: PreTrainedTokenizerBase, n_texts: int, *, as_target: bool = False) -> Frame:
    """Find out how a tokenizer frames texts, by looking at what it does to samples.

    Args:
        tokenizer: Any tokenizer.
        n_texts: One or two.
        as_target: Frame of a target text, where the tokenizer makes a difference.

    Raises:
        DataError: The tokenizer changes texts when it frames them.
    """
    samples = _SAMPLES[:n_texts]
    texts = [plain_ids(tokenizer, [sample])[0] for sample in samples]
    framed = tokenizer(text_target=samples[0]) if as_target else tokenizer(*samples)
    ids, types = list(framed["input_ids"]), list(framed.get("token_type_ids", []))
    parts, part_types, text_types = [], [], []
    end = 0
    for text in texts:
        start = _find(ids, text.tolist(), end)
        if start is None:
            raise DataError(f"{tokenizer.name_or_path}: the tokenizer frames texts in a way that is not understood")
        parts.append(np.array(ids[end:start], np.int32))
        part_types.append(types[end] if types else 0)
        text_types.append(types[start] if types else 0)
        end = start + len(text)
    parts.append(np.array(ids[end:], np.int32))
    part_types.append(types[end] if types and end < len(types) else 0)
    return Frame(parts=tuple(parts), part_types=tuple(part_types), text_types=tuple(text_types), has_types=bool(types))


def plain_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """Return the ids of texts without any special token, also where a text spells one."""
    encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [np.asarray(ids, dtype=np.int32) for ids in encoded]


def kept_of_pair(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens to keep of two texts so that they fit: the longer one is cut first.

    The rule of tokenizers' "longest_first": the shorter text stays whole while it takes at most half the room.
    """
    if first + second <= room:
        return first, second
    shorter = min(first, second)
    if 2 * shorter <= room:
        return (shorter, room - shorter) if first <= second else (room - shorter, shorter)
    half = room // 2
    return (half, room - half) if first <= second else (room - half, half)


def _find(ids: Sequence[int], wanted: Sequence[int], start: int) -> int | None:
    for position in range(start, len(ids) - len(wanted) + 1):
        if list(ids[position : position + len(wanted)]) == list(wanted):
            return position
    return None
