"""Trains the sentence encoder on pairs of memory and message with the cosine-similarity loss."""

from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from datasets import Dataset, disable_progress_bars
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from tasks.params import Retriever
from tasks.steps import Log

LOG_EVERY = 20  # steps


def train_encoder(encoder: SentenceTransformer, pairs: pd.DataFrame, settings: Retriever, seed: int, log: Log) -> None:
    """Train in place: mean of (cos(memory, message) - similarity)^2 (Reimers & Gurevych 2019, regression objective)."""
    disable_progress_bars()
    columns = {"sentence1": "memory_0", "sentence2": "user_prompt_1", "score": "similarity_score"}
    data = Dataset.from_dict({name: pairs[column].tolist() for name, column in columns.items()})
    with TemporaryDirectory() as folder:  # the trainer asks for one; nothing is saved there
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup,  # below 1 it is a share of all steps
            seed=seed,
            use_cpu=encoder.device.type == "cpu",
            report_to=[],
            save_strategy="no",
            logging_steps=LOG_EVERY,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = _Trainer(
            model=encoder,
            args=arguments,
            train_dataset=data,
            loss=CosineSimilarityLoss(encoder),
            callbacks=[_Report(log)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.train()


class _Trainer(SentenceTransformerTrainer):
    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        # it would encode a thousand rows, under a progress bar, for a model card that is never written
        pass


class _Report(TrainerCallback):
    def __init__(self, log: Log):
        self.log = log

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self.log(state.global_step, {"loss": logs["loss"], "learning_rate": logs["learning_rate"]})
