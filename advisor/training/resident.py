"""What stays in memory between trials: base models and tokenized splits."""

import gc
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.data.dataset import Code
from advisor.data.examples import Example, ExampleFile
from advisor.errors import DataError
from advisor.feasibility.several_gpus import layers_per_gpu
from advisor.modeling.attachment import AttachedModel, changes_base
from advisor.modeling.base import BaseModel, BaseRequest, load_base_model, request_for
from advisor.modeling.devices import release_memory
from advisor.modeling.sharing import shared_base
from advisor.result import DatasetFacts
from advisor.training.answers import class_names, expected_answers
from advisor.training.programs import ProgramJudge
from advisor.training.searches import Search, answers_of, search_of
from advisor.training.token_cache import TokenCache
from advisor.training.tokens import TokenizedSplit, Tokenizing, TokenRow, lengths_for
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
        most_bases: int | None = None,
        more_devices: Sequence[torch.device] = (),
        codebase: Sequence[Code] = (),
        judge: ProgramJudge | None = None,
    ) -> None:
        """Take the examples; nothing is loaded yet.

        Args:
            task: See `DeviceRunner`, as for all but the last.
            splits: The examples.
            device: Where base models go.
            seed: Of the choice of validation examples.
            max_valid_examples: Most of them.
            cache: Keeps token ids between runs.
            most_bases: Base models in memory at once; None for one on an accelerator and two on the host.
            more_devices: Over which base models are spread, besides `device`.
            codebase: What a code search searches, see `searches.search_of`.
            judge: Runs answers that are programs; None where none is to be run.

        Raises:
            DataError: No row of a code search is an answer.
        """
        self._task = task
        self.judge = judge
        self._device = device
        self._more_devices = tuple(more_devices)
        self._examples = {split: tuple(examples) for split, examples in splits.items()}
        self._searches: dict[Split, Search] = {}
        if task.form == "retrieval":
            self._take_searches(codebase)
        n_valid = len(self._examples["valid"])
        if max_valid_examples is not None and n_valid > max_valid_examples:
            self._take_valid(sorted(random.Random(seed).sample(range(n_valid), max_valid_examples)))
        self.label_names = class_names(task, self._examples["train"])
        self._bases: dict[BaseRequest, BaseModel] = {}
        self._tokenizing: dict[tuple[str, str], Tokenizing] = {}
        self._cache = cache
        # A GPU is meant to be full with one base model; the host has room for a second one.
        self._most_bases = most_bases or (2 if device.type == "cpu" else 1)

    def examples(self, split: Split) -> tuple[Example, ...]:
        """Return the examples of a split as they are used."""
        return self._examples[split]

    def expected(self, split: Split) -> list[str]:
        """Return what a model should say for each example of a split, as `answers` writes it."""
        if split in self._searches:
            return self._searches[split].expected
        return expected_answers(self._task, self._examples[split])

    def search(self, split: Split) -> Search:
        """Return what a split of code search asks; there is none of the training split.

        Raises:
            KeyError: The task is no code search.
        """
        return self._searches[split]

    def base_model(self, candidate: Candidate) -> BaseModel:
        """Return the base model of a candidate, loaded if it is not there.

        What has to make room for it, and what was dropped before, is out of memory before anything is loaded.

        Raises:
            AdvisorError: It cannot be loaded.
        """
        request = self.request(candidate)
        base = self._bases.pop(request, None)
        if base is None:
            gc.unfreeze()
            while len(self._bases) >= self._most_bases:
                self._bases.pop(next(iter(self._bases)))  # the one unused for longest
            # A module may refer to itself (accelerate makes it so), and is then there until it is collected.
            release_memory(self._device)
            base = load_base_model(self._spread(request, candidate), self._device, *self._more_devices)
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

    def rows_to_embed(self, split: Split, candidate: Candidate, attached: AttachedModel) -> list[TokenRow]:
        """Return the queries of a split of code search and then all code that is searched, as `retrieval` takes them.

        Raises:
            InputError: As `rows`.
        """
        length, virtual = candidate.max_seq_length, attached.virtual_tokens
        codes = self._rows(f"{split}, searched", self._searches[split].codes, attached.base, length, virtual).rows
        return [*(row.query for row in self.rows(split, candidate, attached).rows if row.query is not None), *codes]

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

    def _spread(self, request: BaseRequest, candidate: Candidate) -> BaseRequest:
        """Say how the layers go to several devices: as the step of the candidate that is first to need them asks."""
        if not self._more_devices:
            return request
        layers = layers_per_gpu(candidate, self._task, 1 + len(self._more_devices))
        return replace(request, layers_per_device=layers)

    def _take_searches(self, codebase: Sequence[Code]) -> None:
        for split, examples in self._examples.items():
            if split != "train":
                self._searches[split] = search_of(examples, codebase)
                self._examples[split] = self._searches[split].queries
        self._examples["train"] = answers_of(self._examples["train"])
        if not self._examples["train"]:
            raise DataError("code search: no row of the train split is an answer (label 1): there is nothing to learn")

    def _take_valid(self, chosen: Sequence[int]) -> None:
        self._examples["valid"] = tuple(self._examples["valid"][number] for number in chosen)
        if "valid" in self._searches:
            self._searches["valid"] = self._searches["valid"].only(chosen)

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
