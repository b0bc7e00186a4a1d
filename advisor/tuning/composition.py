"""Studies of adapters that are made of trained ones: `tune --on-adapter` and `tune --fuse`.

The folders are read before anything is loaded. From then on they travel as `TrainedAdapter` in every candidate, with
the hash of their weights: a study whose adapters were trained anew meanwhile is another study.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from advisor.catalog.trained_adapters import PART_OPTIONS, Parts, read_parts, same_base_model
from advisor.errors import InputError, printable
from advisor.recommendation import RankedCandidate, Recommendation
from advisor.tuning.request import TuningRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What the adapters of a study are made of.

    Attributes:
        method: Slug of the one method that is searched.
        parts: The trained adapters.
    """

    method: str
    parts: Parts

    def asked_of(self, request: TuningRequest) -> TuningRequest:
        """Return the request with the method, and with the adapters' base model where it names none."""
        named = request.base_model is not None or request.recommendation is not None
        base_model = request.base_model if named else self.parts.base_model
        return replace(request, methods=(self.method,), base_model=base_model)

    def put_into(self, recommendation: Recommendation) -> Recommendation:
        """Return a recommendation for the adapters' base model whose candidates are made of them.

        Raises:
            InputError: It is for other base models.
        """
        lines = [one for one in recommendation.candidates if same_base_model(one.base_model, self.parts.base_model)]
        if not lines:
            others = ", ".join(dict.fromkeys(printable(one.base_model) for one in recommendation.candidates))
            first = self.parts.adapters[0]
            raise InputError(
                f"{PART_OPTIONS[self.method]} {printable(first.folder, 300)}: was trained on "
                f"{printable(self.parts.base_model, 300)}, and the study is on {others}; give adapters of that base "
                "model, or --model with the other"
            )
        found = tuple(self._made_of_parts(line, rank) for rank, line in enumerate(lines, start=1))
        return replace(recommendation, candidates=found)

    def _made_of_parts(self, line: RankedCandidate, rank: int) -> RankedCandidate:
        placed = {"placement": self.parts.placement, "cross_adapter": self.parts.cross_adapter}
        return replace(
            line, rank=rank, hyperparameters={**line.hyperparameters, **placed}, adapters=self.parts.adapters
        )


def composition_of(request: TuningRequest) -> Composition | None:
    """Read the trained adapters that a request names; None where it names none.

    Raises:
        InputError: One does not exist, or they do not go together.
        DataError: One is no trained bottleneck adapter.
    """
    folders = {"adapter-stack": request.on_adapters, "adapter-fusion": request.fuse}
    for method, named in folders.items():
        if named:
            return Composition(method=method, parts=read_parts([Path(one) for one in named], PART_OPTIONS[method]))
    return None
