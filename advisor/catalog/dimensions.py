"""One searched hyperparameter: the record that methods describe their ranges with."""

from dataclasses import dataclass
from typing import Literal

Scalar = float | int | str | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One searched hyperparameter of one method.

    Attributes:
        name: PEFT's or transformers' name, such as "r" or "learning_rate".
        kind: "float" and "int" use `low`, `high` and `log`; "categorical" uses `choices`.
        low: Least value, inclusive.
        high: Greatest value, inclusive.
        log: Sample in the logarithm.
        choices: Allowed values of a categorical dimension.
        evidence: Ids of the rows that the range comes from; empty when it comes from the method's
            paper or PEFT's defaults.
    """

    name: str
    kind: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Scalar, ...] = ()
    evidence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "categorical":
            if not self.choices:
                raise ValueError(f"{self.name}: a categorical dimension needs choices")
        elif self.low is None or self.high is None or self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self.name}: low {self.low} and high {self.high} are not a range")
