"""What models are worth: predictions on a split, compared with what was expected."""

import time
from collections.abc import Sequence
from pathlib import Path

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.modeling.attachment import AttachedModel
from advisor.training.answers import measure_answers
from advisor.training.evaluation import predict
from advisor.training.packing.evaluation import predict_packed
from advisor.training.packing.trunk import Trunk
from advisor.training.predictions import predictions_of, shown, write_predictions
from advisor.training.resident import Resident
from advisor.training.retrieval import embed, ranks_of_answers
from advisor.trial import Evaluation, Split


class Scorer:
    """Evaluates models of one task on the splits that are resident."""

    def __init__(self, task: Task, data: Resident) -> None:
        """Take the task, which names the metrics, and the data."""
        self._task = task
        self._data = data

    def score(
        self,
        attached: AttachedModel,
        candidate: Candidate,
        split: Split,
        *,
        predicted: Sequence[str] | None = None,
        predictions: Path | None = None,
    ) -> Evaluation:
        """Evaluate a model on a split.

        Args:
            attached: The model.
            candidate: What it was trained as; its precision and lengths are used.
            split: Which split.
            predicted: What it says for each example where that is known already; None to ask it.
            predictions: File to write with one line for each example, or None.

        Raises:
            torch.OutOfMemoryError: Not even one example fits.
        """
        began_s = time.perf_counter()
        examples = self._data.examples(split)
        if predicted is None:
            predicted = self._predicted(attached, candidate, split)
        expected = self._data.expected(split)
        made = predictions_of(examples, predicted, expected=expected)
        if predictions is not None:
            write_predictions(made, predictions)
        return Evaluation(
            metrics=measure_answers(
                self._task, self._task.metrics, expected, predicted, label_names=self._data.label_names
            ),
            n_examples=len(examples),
            duration_s=time.perf_counter() - began_s,
            predictions=shown(made),
        )

    def _predicted(self, attached: AttachedModel, candidate: Candidate, split: Split) -> list[str]:
        if self._task.form == "retrieval":
            rows = self._data.rows_to_embed(split, candidate, attached)
            vectors = embed(attached, rows, precision=candidate.precision)
            return ranks_of_answers(vectors, self._data.search(split).relevant)
        return predict(
            attached,
            self._data.rows(split, candidate, attached).rows,
            precision=candidate.precision,
            max_target_length=self._task.max_target_length,
        )

    def predict_together(
        self, trunk: Trunk, attached: dict[int, AttachedModel], candidate: Candidate
    ) -> dict[int, list[str]]:
        """Return what trials of one pack say for each validation example, in the forward passes of one.

        Args:
            trunk: Model with the adapters of the pack.
            attached: Models of the trials that are asked, by number.
            candidate: Of one of them; those of a pack agree in base model, precision and lengths.

        Raises:
            torch.OutOfMemoryError: Not even one example fits.
            PackingError: The model does something that packs do not allow for.
        """
        return predict_packed(
            self._data.base_model(candidate),
            trunk,
            list(attached),
            self._data.rows("valid", candidate, next(iter(attached.values()))).rows,
            precision=candidate.precision,
            max_target_length=self._task.max_target_length,
        )
