"""Takes secrets out of what is told to a tracker: it may be shared with people who should not read them.

Not covered: passwords without a form that shows what they are, such as a word of its own on a command line.
"""

import re

from advisor.data.credentials import kinds_of_secrets

HIDDEN = "***"

# scheme://user:password@host and scheme://token@host
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@'\"]+@")
# ...?token=..., --api-key=..., PASSWORD=...
_NAMED = re.compile(
    r"(?i)(?P<name>[\w-]*(?:token(?!s)|secret|passw(?:or)?d|api[_-]?key|signature|credential)[\w-]*=)[^\s&'\"]+"
)


def without_secrets(text: str) -> str:
    """Return the text with `***` for what looks like a secret: keys of known forms, passwords in addresses.

    A word that holds a key of a known form is hidden as a whole.
    """
    text = _USER_INFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _NAMED.sub(rf"\g<name>{HIDDEN}", text)
    return re.sub(r"\S+", lambda word: HIDDEN if kinds_of_secrets([word.group()]) else word.group(), text)
