"""Base models with and without adapters: loading, attaching, saving, detaching."""
