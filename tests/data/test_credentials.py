"""What looks like a secret is told by its kind; ordinary code is not. Every key here is made up."""

import pytest

from advisor.data.credentials import kinds_of_secrets

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# Put together here so that the file itself holds nothing that looks like a secret.
MADE_UP = {
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "AWS key": 'key = "AKIA' + "ABCDEFGHIJKLMNOP" + '"',
    "GitHub token": "ghp_" + LETTERS[:36],
    "GitLab token": "glpat-" + LETTERS[:20],
    "Slack token": "xoxb-" + LETTERS[:24],
    "Google key": "AIza" + LETTERS[:35],
    "Stripe key": "sk_live_" + LETTERS[:24],
    "Hugging Face token": "hf_" + LETTERS[:34],
    "PyPI token": "pypi-AgEI" + LETTERS[:50],
}


@pytest.mark.parametrize("kind", MADE_UP)
def test_a_key_is_told_by_its_form(kind: str) -> None:
    assert kinds_of_secrets(["int x;", f"a {MADE_UP[kind]} b"]) == {kind}


@pytest.mark.parametrize(
    "text",
    ["ghp_token = read()", "AKIA is a prefix", "-----BEGIN PUBLIC KEY-----", "hf_hub_download(x)", "xoxo", "sk_test_1"],
)
def test_ordinary_code_is_no_secret(text: str) -> None:
    assert kinds_of_secrets([text]) == set()
