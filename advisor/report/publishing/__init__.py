"""A finished run's adapter on the Hugging Face hub: what is uploaded, what is not, and the upload itself."""

from advisor.report.publishing.hub import Hub, publish
from advisor.report.publishing.preparation import Prepared, PublishRequest, prepare_publication
from advisor.report.publishing.summary import PublishSummary, summary_of

__all__ = ["Hub", "Prepared", "PublishRequest", "PublishSummary", "prepare_publication", "publish", "summary_of"]
