"""Secrets do not reach a tracker; ordinary command lines do, unchanged."""

import pytest

from advisor.tuning.trackers.redaction import without_secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--train https://me:hunter2@example.org/a.jsonl", "--train https://***@example.org/a.jsonl"),
        ("--train s3://AKIAIOSFODNN7EXAMPLE/data --seed 1", "--train *** --seed 1"),
        ("--model hf_" + "a" * 34, "--model ***"),
        ("https://example.org/a?token=abc&x=1", "https://example.org/a?token=***&x=1"),
        ("HF_TOKEN=abc peft-advisor tune", "HF_TOKEN=*** peft-advisor tune"),
        ("--train 'https://tok@example.org/a b.jsonl'", "--train 'https://***@example.org/a b.jsonl'"),
    ],
)
def test_a_secret_is_hidden(text, expected):
    assert without_secrets(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "peft-advisor tune --task clone-detection --train data/a.jsonl --map code_tokens=tokens --time 1h30m",
        "--train user@host:/data/a.jsonl --output 'a folder/run'",
        "https://huggingface.co/datasets/org/name",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert without_secrets(text) == text
