"""What one `peft-advisor estimate` costs in time and memory."""
