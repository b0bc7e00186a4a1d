"""Ten questions that a user would ask of `peft-advisor estimate`."""
