"""Rows that look as if they hold a secret: counted, never shown.

Only forms that issuers give their keys on purpose so that they can be found are looked for; a match is likely to be
one, though it may be an example from a manual. Not covered: passwords and keys without such a form.

The forms are those in general use for these keys, not a list kept by the issuers: a new form is not found.
"""

import re
from collections.abc import Iterable

# kind -> (what every one of them contains, which is quick to look for; its whole form)
_FORMS: dict[str, tuple[tuple[str, ...], re.Pattern[str]]] = {
    "private key": (("PRIVATE KEY-----",), re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    "AWS key": (("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    "GitHub token": (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{50,}\b"),
    ),
    "GitLab token": (("glpat-",), re.compile(r"\bglpat-[\w-]{20,}")),
    "Slack token": (("xox",), re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{20,}")),
    "Google key": (("AIza",), re.compile(r"\bAIza[\w-]{35}(?![\w-])")),
    "Stripe key": (("k_live_",), re.compile(r"\b[sr]k_live_[0-9A-Za-z]{24,}\b")),
    "Hugging Face token": (("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{34}\b")),
    "PyPI token": (("pypi-AgEI",), re.compile(r"\bpypi-AgEI[\w-]{50,}")),
}


def kinds_of_secrets(texts: Iterable[str]) -> set[str]:
    """Return the kinds of secrets that texts seem to hold."""
    found = set()
    for text in texts:
        for kind, (marks, form) in _FORMS.items():
            if any(mark in text for mark in marks) and form.search(text):
                found.add(kind)
    return found
