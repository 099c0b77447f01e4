"""A small network in Lightning; its settings are those of LightningCLI: arguments of the model and of the trainer."""

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self, width: int = 16, lr: float = 1e-2, dropout: float = 0.0) -> None:
        super().__init__()
        self.lr = lr
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch, _):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def _loader(self, first: int, last: int) -> DataLoader:
        x = torch.linspace(-2, 2, 1600).reshape(400, 4)[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
        return DataLoader(TensorDataset(x[first:last], torch.sin(x.sum(1, keepdim=True))[first:last]), batch_size=32)

    def train_dataloader(self):
        return self._loader(0, 300)

    def val_dataloader(self):
        return self._loader(300, 400)


def main() -> None:
    cli = LightningCLI(
        Model,
        seed_everything_default=1,
        trainer_defaults={
            "max_epochs": 5, "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
            "enable_progress_bar": False, "enable_model_summary": False,
        },
        run=False,
    )  # fmt: skip
    cli.trainer.fit(cli.model)
    print(f"val_loss: {cli.trainer.callback_metrics['val_loss']:.6f}")


if __name__ == "__main__":
    main()
