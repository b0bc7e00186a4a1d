"""How far the dry run's memory and time are from what a GPU shows."""
