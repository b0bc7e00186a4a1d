"""What stays in memory between trials: base models and tokenized splits."""

import gc
import random
from collections.abc import Mapping, Sequence

import torch

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.modeling.attachment import AttachedModel, changes_base
from advisor.modeling.base import BaseModel, BaseRequest, load_base_model, request_for
from advisor.modeling.devices import release_memory
from advisor.modeling.sharing import shared_base
from advisor.result import DatasetFacts
from advisor.training.examples import Example, ExampleFile, label_names
from advisor.training.token_cache import TokenCache
from advisor.training.tokens import TokenizedSplit, Tokenizing, lengths_for
from advisor.trial import Split


class Resident:
    """Loads base models and tokenizes data on first use, and keeps both."""

    def __init__(
        self,
        task: Task,
        splits: Mapping[Split, Sequence[Example]],
        device: torch.device,
        *,
        seed: int,
        max_valid_examples: int | None = None,
        cache: TokenCache | None = None,
    ) -> None:
        """Take the examples; nothing is loaded yet. See `DeviceRunner` for the arguments."""
        self._task = task
        self._device = device
        self._examples = {split: tuple(examples) for split, examples in splits.items()}
        valid = self._examples["valid"]
        if max_valid_examples is not None and len(valid) > max_valid_examples:
            chosen = sorted(random.Random(seed).sample(range(len(valid)), max_valid_examples))
            self._examples["valid"] = tuple(valid[number] for number in chosen)
        self.label_names = label_names(self._examples["train"]) if task.kind == "non-generative" else ()
        self._bases: dict[BaseRequest, BaseModel] = {}
        self._tokenizing: dict[tuple[str, str], Tokenizing] = {}
        self._cache = cache
        # A GPU is meant to be full with one base model; the host has room for a second one.
        self._max_bases = 2 if device.type == "cpu" else 1

    def examples(self, split: Split) -> tuple[Example, ...]:
        """Return the examples of a split as they are used."""
        return self._examples[split]

    def base_model(self, candidate: Candidate) -> BaseModel:
        """Return the base model of a candidate, loaded if it is not there.

        Raises:
            AdvisorError: It cannot be loaded.
        """
        request = self.request(candidate)
        base = self._bases.pop(request, None)
        if base is None:
            while len(self._bases) >= self._max_bases:
                gc.unfreeze()
                self._bases.pop(next(iter(self._bases)))  # the one unused for longest
                release_memory(self._device)
            base = load_base_model(request, self._device)
            # Libraries and base model are there to stay. Every collection after a trial would look at all of their
            # objects, which takes longer than some trials.
            gc.collect()
            gc.freeze()
        self._bases[request] = base
        return base

    def request(self, candidate: Candidate) -> BaseRequest:
        """Return how a candidate wants its base model; candidates with equal ones can share it."""
        return request_for(candidate, self._task, self.label_names, self._device)

    def lend(self, candidate: Candidate) -> BaseModel:
        """Return a base model to put an adapter on; hand what was attached to `give_back`.

        It is a copy of the structure that shares the weights, or the base model itself for a candidate that writes into
        these: nothing else may be attached then.

        Raises:
            AdvisorError: It cannot be loaded.
        """
        base = self.base_model(candidate)
        return base if changes_base(candidate) else shared_base(base)

    def give_back(self, attached: AttachedModel) -> None:
        """Take an adapter off its base model; a base model that was damaged is dropped."""
        base = attached.base
        if not attached.detach():
            gc.unfreeze()
            self._bases.pop(base.request, None)

    def drop_base_models(self) -> None:
        """Free the memory of all base models; they are loaded again when they are asked for."""
        gc.unfreeze()
        self._bases.clear()
        release_memory(self._device)

    def rows(self, split: Split, candidate: Candidate, attached: AttachedModel) -> TokenizedSplit:
        """Return the rows of a split at the lengths that candidate, model and adapter allow.

        Raises:
            InputError: They allow none.
        """
        return self._rows(
            split, self._examples[split], attached.base, candidate.max_seq_length, attached.virtual_tokens
        )

    def facts(self, split: Split, file: ExampleFile, candidate: Candidate) -> DatasetFacts:
        """Describe a split as a candidate without virtual tokens reads it.

        Args:
            split: Which split.
            file: The file that it was read from.
            candidate: Gives tokenizer and length.

        Raises:
            AdvisorError: The base model cannot be loaded.
        """
        base = self.base_model(candidate)
        used = self._examples[split]
        name = split if len(file.examples) == len(used) else f"{split}, whole"
        tokenized = self._rows(name, file.examples, base, candidate.max_seq_length, 0)
        return DatasetFacts(
            path=file.path,
            sha256=file.sha256,
            n_examples=len(file.examples),
            label_counts=file.label_counts,
            median_tokens=tokenized.median_tokens,
            truncated=tokenized.truncated,
        )

    def _rows(
        self, name: str, examples: Sequence[Example], base: BaseModel, max_seq_length: int, virtual_tokens: int
    ) -> TokenizedSplit:
        head = base.request.head
        key = base.source, head
        if key not in self._tokenizing:
            self._tokenizing[key] = Tokenizing(base.tokenizer, self._task, head, self.label_names, self._cache)
        tokenizing = self._tokenizing[key]
        lengths = lengths_for(
            self._task,
            head,
            max_seq_length=max_seq_length,
            max_positions=base.max_positions,
            virtual_tokens=virtual_tokens,
            frame=tokenizing.frame,
        )
        return tokenizing.split(name, examples, lengths)
