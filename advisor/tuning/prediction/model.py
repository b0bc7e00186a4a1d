"""The model of a finished run: loaded once, asked as the study asked it when it compared contenders."""
# ruff: noqa: TID253 - imported when the rows were found good

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.data.inputs import Input
from advisor.errors import AdvisorError, InputError
from advisor.metrics.retrieval import ranks_from_scores
from advisor.modeling.attachment import AttachedModel, load_adapter
from advisor.modeling.base import load_base_model, request_for
from advisor.modeling.devices import is_out_of_memory
from advisor.modeling.spreading import choose_devices, describe_devices
from advisor.training.answers import Scores, label_set_of
from advisor.training.evaluation import predict, prediction_batches
from advisor.training.prompting import prompt_of_base
from advisor.training.retrieval import Vectors, embed
from advisor.training.thresholds import decided
from advisor.training.tokens import Tokenizing, TokenRow, lengths_for
from advisor.tuning.prediction.finished_run import FinishedRun
from advisor.tuning.prediction.rows import FoundCode, RowPrediction

N_FOUND = 10  # codes that a search names for each query


class RowModel(Protocol):
    """Predicts rows in batches."""

    def batches(self, inputs: Sequence[Input]) -> list[tuple[list[int], list[TokenRow]]]:
        """Return batches of rows of similar length: which of the inputs, and their tokens."""

    def predictions(self, inputs: Sequence[Input], rows: Sequence[TokenRow]) -> list[RowPrediction]:
        """Return what the model says of the rows of one batch."""


def load_model(run: FinishedRun, *, device: str | None, batch_size: int, codes: Sequence[Code] = ()) -> RowModel:
    """Load base model and adapter of a finished run.

    Args:
        run: Of which task.
        device: Such as "cpu"; None for the best there is.
        batch_size: Rows at once.
        codes: What a code search searches; they are embedded here.

    Raises:
        AdvisorError: The base model or the adapter cannot be loaded, there is no such device, or no memory for it.
    """
    model = _Model(run, device, batch_size)
    return _SearchModel(model, codes) if run.task.form == "retrieval" else model


class _Model:
    """Classifies and generates."""

    def __init__(self, run: FinishedRun, device: str | None, batch_size: int) -> None:
        places = choose_devices(device)
        try:
            base = load_base_model(request_for(run.candidate, run.task, run.label_names, places[0]), *places)
            self.attached: AttachedModel = load_adapter(base, run.candidate, run.adapter)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            where = describe_devices(places)
            raise AdvisorError(f"--device: {where} has no memory for {run.candidate.base_model}") from error
        self.run = run
        self.batch_size = batch_size

    def batches(self, inputs: Sequence[Input]) -> list[tuple[list[int], list[TokenRow]]]:
        examples = [one.example for one in inputs]
        self._check_prompt(examples)
        return prediction_batches(self.attached, self.rows(examples), self.batch_size)

    def predictions(self, inputs: Sequence[Input], rows: Sequence[TokenRow]) -> list[RowPrediction]:
        task, names = self.run.task, self.run.label_names
        with _one_line_for_memory(inputs):
            found = predict(
                self.attached,
                rows,
                precision=self.run.candidate.precision,
                max_target_length=task.max_target_length,
                batch_size=self.batch_size,
            )
        said = decided(task, found, self.run.result.threshold, names)
        return [
            self._made(one, text, None if found.scores is None else found.scores[number])
            for number, (one, text) in enumerate(zip(inputs, said, strict=True))
        ]

    def rows(self, examples: Sequence[Example]) -> list[TokenRow]:
        """Return texts as token ids, at the lengths of training."""
        base, candidate, task = self.attached.base, self.run.candidate, self.run.task
        head = base.request.head
        # One for each call: it remembers all that it tokenized, and a file may be long.
        tokenizing = Tokenizing(base.tokenizer, task, head, self.run.label_names)
        lengths = lengths_for(
            task,
            head,
            max_seq_length=candidate.max_seq_length,
            max_positions=base.max_positions,
            virtual_tokens=self.attached.virtual_tokens,
            frame=tokenizing.frame,
        )
        return tokenizing.split("rows", examples, lengths).rows

    def vectors(self, inputs: Sequence[Input], rows: Sequence[TokenRow]) -> Vectors:
        """Return the vectors of texts of a search, shape (rows, features)."""
        with _one_line_for_memory(inputs):
            return embed(self.attached, rows, precision=self.run.candidate.precision, batch_size=self.batch_size)

    def _made(self, one: Input, text: str, scores: Scores | None) -> RowPrediction:
        names = self.run.label_names
        if scores is None:
            return RowPrediction(row=one.row, id=one.row_id, prediction=text)
        if self.run.task.form == "multi-label":
            chosen = label_set_of(text)
            said = [number for number, name in enumerate(names) if name in chosen]
            return RowPrediction(
                row=one.row,
                id=one.row_id,
                labels=tuple(names[number] for number in said),
                scores=tuple(float(scores[number]) for number in said),
            )
        number = names.index(text)
        if len(names) == 2:  # the one score is that of the second class
            score = float(scores[0]) if number == 1 else 1.0 - float(scores[0])
        else:
            score = float(scores[number])
        return RowPrediction(row=one.row, id=one.row_id, prediction=text, score=score)

    def _check_prompt(self, examples: Sequence[Example]) -> None:
        """Refuse rows that a decoder would read in another frame than it was trained with."""
        trained, now = self.run.result.prompt, prompt_of_base(self.attached.base, self.run.task, examples)
        if trained is None or now is None or trained == now:
            return
        if (trained.between is None) == (now.between is None):
            raise AdvisorError(
                f"{self.run.folder}: this tokenizer writes another prompt than the adapter was trained with "
                "(was the base model updated?); train it again"
            )
        which, then = ("with", "lack") if now.between is None else ("without", "have")
        raise InputError(f"--input: the adapter was trained on rows {which} a field 'suffix', which these {then}")


class _SearchModel:
    """Finds code for queries; see `training.retrieval`."""

    def __init__(self, model: _Model, codes: Sequence[Code]) -> None:
        self._model = model
        self._ids = [code.code_id for code in codes]
        self._places = {code_id: place for place, code_id in enumerate(self._ids)}
        examples = [Example(example_id=code.code_id, text=code.code, text_pair=None, target="") for code in codes]
        self._vectors = model.vectors((), model.rows(examples))

    def batches(self, inputs: Sequence[Input]) -> list[tuple[list[int], list[TokenRow]]]:
        return self._model.batches(inputs)

    def predictions(self, inputs: Sequence[Input], rows: Sequence[TokenRow]) -> list[RowPrediction]:
        scores = self._model.vectors(inputs, rows) @ self._vectors.T
        return [self._made(one, row) for one, row in zip(inputs, scores, strict=True)]

    def _made(self, one: Input, scores: Vectors) -> RowPrediction:
        best = np.argsort(-scores, kind="stable")[:N_FOUND]
        top = tuple(FoundCode(code_id=self._ids[place], score=float(scores[place])) for place in best)
        wanted = self._places.get(one.example.code_id or "")
        return RowPrediction(
            row=one.row,
            id=one.row_id,
            prediction=top[0].code_id,
            score=top[0].score,
            top=top,
            rank=None if wanted is None else ranks_from_scores([scores[None]], [{wanted}])[0].ranks[0],
        )


@contextmanager
def _one_line_for_memory(inputs: Sequence[Input]) -> Iterator[None]:
    """Batches were halved down to one row before this error comes."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        what = f"row {inputs[0].row} or one of similar length" if inputs else "a row of the codebase"
        raise AdvisorError(f"{what} does not fit into the device's memory; free some, or use --device cpu") from error
