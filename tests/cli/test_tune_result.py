"""What `tune` prints at its end: the verdict stands first, and the code at its end can be run."""

from dataclasses import replace

from advisor.cli.tune_result import show_result
from tests.report.fixtures import candidate, result, run_folder, seeded_result, weighed_run, write_run


def test_the_result_begins_with_the_verdict_and_ends_with_code_that_loads_the_adapter(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    show_result(folder)
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    assert "recommendation" in first.lower() or "better" in first.lower()
    for row in run_folder().result.contenders:
        assert row.name in out
    assert "95 % interval" in out
    assert str(folder / "report.html") in out
    assert "from_pretrained" in out
    compile(out[out.index("from peft") :], "snippet", "exec")


def test_what_loads_the_adapter_is_said_by_its_method(tmp_path, capsys):
    said = {}
    for method in ("lora", "compacter", "full"):
        run = run_folder(result=result(best=candidate(method=method)))
        show_result(write_run(tmp_path / method, run))
        lines = capsys.readouterr().out.splitlines()
        (said[method],) = [line for line in lines if line.startswith("Reloaded by")]
        # PEFT alone does not know Compacter: then the code below makes it known first.
        assert ("import advisor.modeling.tuners" in "\n".join(lines[lines.index(said[method]) + 1 :])) == (
            method == "compacter"
        )
    assert said["lora"] == "Reloaded by PEFT alone in a fresh process: F1 0.843."
    assert "alone" not in said["compacter"]
    assert "pip install peft-advisor; import advisor.modeling.tuners" in said["compacter"]
    assert said["full"] == "Reloaded by transformers alone in a fresh process: F1 0.843."


def test_finals_are_printed_with_every_seed_and_the_seed_of_the_adapter(tmp_path, capsys):
    show_result(write_run(tmp_path / "run", run_folder(result=seeded_result())))
    out = capsys.readouterr().out
    assert "the mean of 3 seeds" in out.splitlines()[1]
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "Trial Method Seed 7 Seed 8 Seed 9 Mean Spread" in lines
    assert "9 LoRA, learning_rate=0.0001135 0.865 0.845 0.855 0.855 ± 0.010" in lines
    assert any(line.startswith("2 finalists were trained again to the end with other seeds") for line in lines)
    assert any(line.startswith("The saved adapter is that of seed 7") for line in lines)


def test_without_finals_no_seed_is_printed(tmp_path, capsys):
    show_result(write_run(tmp_path / "run"))
    out = capsys.readouterr().out
    assert "Seed " not in out
    assert "the mean of" not in out


def test_a_search_in_which_no_trial_reached_its_end_says_so(tmp_path, capsys):
    run = run_folder()
    stopped = tuple(replace(trial, state="pruned") for trial in run.trials if trial.state == "complete")
    assert run.result is not None
    cut = replace(run, trials=stopped, result=replace(run.result, stopped="time"))
    show_result(write_run(tmp_path / "run", cut))
    out = capsys.readouterr().out
    assert "the time was over; more --time continues it" in out
    assert "No trial reached its end" in out


def test_a_search_that_reached_its_target_says_so(tmp_path, capsys):
    run = run_folder()
    assert run.result is not None
    show_result(write_run(tmp_path / "run", replace(run, result=replace(run.result, stopped="target"))))
    assert "the target was reached." in capsys.readouterr().out


def test_trade_offs_are_printed_with_what_each_gives_and_takes(tmp_path, capsys):
    show_result(write_run(tmp_path / "run", weighed_run()))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    (summary,) = [line for line in lines if line.startswith("Of 4 trials that were measured")]
    assert "Trial 9 is delivered, for its quality. Trial 0 is the middle way" in summary
    assert (
        "0 LoRA (middle way) 0.812 0.812 0.39 GiB 3 ms merged "
        "gets 20 % less memory and 25 % less time; accepts 0.058 less F1"
    ) in lines


def test_without_a_choice_no_trade_off_is_printed(tmp_path, capsys):
    show_result(write_run(tmp_path / "run"))
    assert "delivered" not in capsys.readouterr().out
