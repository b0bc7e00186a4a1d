"""What predictions are worth: the metrics of the field, each checked against the tool that published it.

`registry` says what each metric is. What it is computed from decides where it stands: `labels` (one class per
example), `label_sets` (several), `class_scores` (a score per class), `retrieval` (ranks), `texts` with `codexglue` and
`codebleu`. `measure` is the way in for what models say as text; `bootstrap` gives any of them an interval.
"""
