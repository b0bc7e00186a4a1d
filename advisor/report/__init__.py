"""The pages a person reads: report.html, report.md and the model card, made from the records of a run folder.

Plain records in, text out: neither torch nor optuna is needed, so a report can be rebuilt anywhere.
"""

from advisor.report.model_card import write_model_card
from advisor.report.write import write_report

__all__ = ["write_model_card", "write_report"]
