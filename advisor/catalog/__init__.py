"""What the advisor knows by name: tasks, PEFT methods, base models, GPUs."""
