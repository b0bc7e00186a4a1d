"""The command line as a whole: help, exit codes, one-line errors."""

import pytest

from advisor.cli import COMMANDS, group, main


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, stdout and stderr."""
    code = 0
    try:
        main(list(args))
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_lists_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_help_page_whose_first_line_is_the_one_in_the_list(capsys, name):
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"peft-advisor {name}" in out
    command = group.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.name == name


def test_an_unknown_command_is_one_line_with_the_nearest_name(capsys):
    code, out, err = run(capsys, "recomend")
    assert (code, out) == (2, "")
    assert err == "error: no command 'recomend'; nearest: recommend\n"


def test_an_unknown_option_is_one_line(capsys):
    code, out, err = run(capsys, "recommend", "--vrma", "24")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--vram" in err


def test_version_is_said(capsys):
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("peft-advisor")
