"""`peft-advisor dashboard`: Optuna's dashboard on the study of a run folder, also while `tune` is at work in it."""

from pathlib import Path

import click


@click.command(name="dashboard")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--port", metavar="N", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free."
)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
def command(folder: Path, port: int, host: str, no_browser: bool) -> None:
    """Show Optuna's dashboard of a finished or running study, for reading only.

    DIR is the folder that `tune` writes. The study is opened for reading only: nothing on the pages changes it. Ctrl-C
    ends the dashboard.
    """
    from advisor.cli.dashboard_server import LOOPBACK, serve

    if host not in LOOPBACK:
        click.echo(f"warning: {host} lets others on the network read this study; nothing asks for a password", err=True)

    def ready(address: str) -> None:
        click.echo(f"{address}/dashboard (Ctrl-C ends it)")
        if not no_browser:
            import webbrowser

            webbrowser.open(f"{address}/dashboard")

    serve(folder, host=host, port=port, on_ready=ready)
