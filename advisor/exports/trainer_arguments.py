"""What the programs around transformers' `Trainer` say alike: the fields of its `TrainingArguments`.

LLaMA-Factory's and ms-swift's own arguments extend `TrainingArguments` (transformers/training_args.py), so the names
and their meaning are the same. What only one of them has, or calls otherwise, stays with its own module.
"""

from advisor.exports.plan import ExportPlan


def trainer_arguments(plan: ExportPlan) -> dict[str, object]:
    """Return batch size, schedule, optimizer and arithmetic, in the order they are written.

    Raises:
        InputError: A hyperparameter is not of the type it must have.
    """
    precision = plan.candidate.precision
    return {
        "per_device_train_batch_size": plan.micro_batch_size,
        "gradient_accumulation_steps": plan.accumulation_steps,
        "learning_rate": plan.number("learning_rate", 1e-4),
        "num_train_epochs": float(plan.number("num_epochs", 1)),
        "lr_scheduler_type": plan.text("lr_scheduler_type", "linear"),
        # Known to every transformers up to 5.6; `warmup_steps` takes a share from 5.0 on only.
        "warmup_ratio": plan.number("warmup_ratio", 0.0),
        "weight_decay": plan.number("weight_decay", 0.0),
        "max_grad_norm": 1.0,
        "optim": "adamw_torch",
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
    }
