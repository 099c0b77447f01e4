"""A tiny GPT-2 from a config, trained by Hugging Face's Trainer; its settings are dataclasses behind HfArgumentParser."""

from dataclasses import dataclass, field

import torch
from transformers import GPT2Config, GPT2LMHeadModel, HfArgumentParser, Trainer, TrainingArguments


@dataclass
class ModelArguments:
    n_layer: int = field(default=1, metadata={"help": "layers of the model"})
    n_embd: int = field(default=32, metadata={"help": "width of the model"})
    dropout: float = field(default=0.1)


@dataclass
class MyTrainingArguments(TrainingArguments):
    output_dir: str = "out"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    per_device_train_batch_size: int = 8
    max_steps: int = 30
    logging_steps: int = 10
    save_strategy: str = "no"
    report_to: str = "none"
    use_cpu: bool = True
    disable_tqdm: bool = True
    seed: int = 42


def main() -> None:
    model_args, training_args = HfArgumentParser((ModelArguments, MyTrainingArguments)).parse_args_into_dataclasses()
    torch.manual_seed(training_args.seed)
    ids = torch.arange(4000) * 7 % 31
    blocks = [{"input_ids": ids[i : i + 32], "labels": ids[i : i + 32]} for i in range(0, 3968, 32)]
    config = GPT2Config(
        vocab_size=32, n_positions=32, n_layer=model_args.n_layer, n_embd=model_args.n_embd, n_head=2,
        resid_pdrop=model_args.dropout, embd_pdrop=model_args.dropout, attn_pdrop=model_args.dropout,
    )  # fmt: skip
    trainer = Trainer(
        model=GPT2LMHeadModel(config), args=training_args, train_dataset=blocks[:100], eval_dataset=blocks[100:]
    )
    trainer.train()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
