"""The HTML report: one file that asks nothing of the network, with everything from outside escaped.

Escaping is Jinja's autoescape; a content security policy stands behind it: scripts run only when their hash is
the one written here, and nothing at all may be fetched. plotly.js is most of the page and stands in it compressed; the
page's own script unpacks it and runs it as an inline script, whose hash is that of the unpacked text.
"""

import base64
import gzip
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from advisor.report.forest import forest
from advisor.report.formatting import visible
from advisor.report.page import Page


def render_html(page: Page) -> str:
    """Return the report as one self-contained HTML document."""
    charts = [*page.trade_off_charts, *page.charts, *([page.importance_chart] if page.importance_chart else [])]
    script = _template_file("report.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            page=page,
            forest=forest(page.differences),
            figures={chart.name: chart.figure for chart in charts},
            css=Markup(_template_file("report.css")),
            script=Markup(script),
            library=Markup(_packed_plotly()) if charts else "",
            script_hashes=[_hash(one) for one in ([_plotly(), script] if charts else [script])],
        )
    )


def _hash(script: str) -> str:
    """Return the source expression of a content security policy that allows exactly this inline script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("advisor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every value that a template prints goes through here before it is escaped.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}
    return environment


def _template_file(name: str) -> str:
    return (files("advisor.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    script: str = get_plotlyjs()
    return script.replace("\r\n", "\n")


@cache
def _packed_plotly() -> str:
    """Return plotly.js as gzip in base64, of which no character means anything to HTML; the same bytes every time."""
    return base64.b64encode(gzip.compress(_plotly().encode("utf-8"), compresslevel=9, mtime=0)).decode("ascii")
