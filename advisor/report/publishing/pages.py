"""Card and report as they are uploaded: without rows of the data, predictions and folders of this machine."""

from dataclasses import replace
from pathlib import Path

from huggingface_hub import ModelCard

from advisor.candidates import Candidate
from advisor.report.html_page import render_html
from advisor.report.markdown import Image, escaped, render_markdown
from advisor.report.model_card import base_note
from advisor.report.page import build_page
from advisor.report.plots import draw_plots
from advisor.report.public import public_run
from advisor.report.publishing.files import UploadFile, made_file
from advisor.report.run_folder import RunFolder
from advisor.report.write import plot_path


def card_of_base_model(text: str, base_model: str, candidate: Candidate) -> str:
    """Return a model card that names a base model of the hub.

    Args:
        text: The card as it stands.
        base_model: Hub id.
        candidate: What was trained, on a base model that may have been a folder.
    """
    note = base_note(candidate)
    card = ModelCard(text.replace(f"{escaped(note)}\n\n", "") if note else text)
    card.data["base_model"] = base_model
    card.data["base_model_relation"] = "finetune" if candidate.method == "full" else "adapter"
    return str(card)


def report_files(run: RunFolder, adapter: Path) -> tuple[UploadFile, ...]:
    """Return both reports of a run and the drawings of report.md, made anew for others.

    Args:
        run: Its records.
        adapter: Folder of its adapter.
    """
    shown = public_run(run, adapter)
    page = replace(build_page(shown), examples=None)
    plots = draw_plots(shown, page)
    images = {plot.name: Image(path=plot_path(plot), alt=plot.alt) for plot in plots}
    return (
        made_file("report.html", render_html(page)),
        made_file("report.md", render_markdown(page, images)),
        *(made_file(plot_path(plot), plot.svg) for plot in plots),
    )
