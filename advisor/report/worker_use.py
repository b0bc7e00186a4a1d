"""How several workers shared a study: what each did, how long it waited, and what one alone would have taken."""

from advisor.report.formatting import duration, listed, plural, share
from advisor.trial import WorkerUse


def workers_note(workers: tuple[WorkerUse, ...]) -> str:
    """Return what to know of the workers of a study; empty for one.

    What one alone would have taken is the sum of what all were busy with: computed, not measured. With a processor
    shared by all, one alone would have had more of it.
    """
    if len(workers) < 2:
        return ""
    each = [_said(one) for one in workers]
    busy_s = sum(one.busy_s for one in workers)
    took_s = max(one.busy_s + one.idle_s for one in workers)
    return (
        f"{len(workers)} workers shared search and finals, which took {duration(took_s)} in "
        f"the last run: {listed(each)}. Together they were busy for {duration(busy_s)}, which is what one alone would "
        "have taken at their pace: computed, not measured."
    )


def _said(one: WorkerUse) -> str:
    in_all_s = one.busy_s + one.idle_s
    busy = share(one.busy_s, in_all_s)
    said = f"{one.name} began {plural(one.n_trials, 'training')} and was busy {busy} of its {duration(in_all_s)}"
    if one.n_lost:
        said += f" (it was lost {plural(one.n_lost, 'time')} and replaced)"
    return said
