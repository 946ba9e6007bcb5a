"""Trains the sentence encoder: to rank a batch's memories for each message, and to predict the similarity of pairs."""

from collections.abc import Iterable, Sequence
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from datasets import Dataset, DatasetDict, disable_progress_bars
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from sentence_transformers.sentence_transformer.training_args import MultiDatasetBatchSamplers
from torch import Tensor, nn
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from tasks.corpus.cartesian import memory_text
from tasks.corpus.topics import TopicLine
from tasks.params import Fitting
from tasks.retrieval.prompts import DOCUMENT, QUERY, prompt_of
from tasks.steps import Log

LOG_EVERY = 20  # steps
TEMPERATURE = 0.07
TASKS = {"message": QUERY, "memory": DOCUMENT, "neighbour": DOCUMENT, "sentence1": DOCUMENT, "sentence2": QUERY}


class GroupRanking(nn.Module):
    """Cross entropy of the memories in a batch for each message, and of the messages for each memory.

    In-batch negatives (Karpukhin et al. 2020, eq. 2) in which all rows of one group are right (Khosla et al. 2020,
    eq. 2): loss = -mean over the right ones of log softmax(cosine / 0.07). Each row brings one hard negative.
    """

    def __init__(self, model: SentenceTransformer):
        super().__init__()
        self.model = model

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            sentence_features: the tokens of the messages, their memories and the neighbours.
            labels: [rows, 2], the groups of a row's memory and of its neighbour.
        """
        messages, memories, neighbours = (
            nn.functional.normalize(self.model(each)["sentence_embedding"], dim=-1) for each in sentence_features
        )
        return group_ranking(messages, torch.cat([memories, neighbours]), torch.cat([labels[:, 0], labels[:, 1]]))


def group_ranking(messages: Tensor, memories: Tensor, groups: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The loss of GroupRanking.

    Args:
        messages: [rows, width], of unit length.
        memories: [rows or more, width], the messages' own first.
        groups: [rows or more], of the memories; a message's is its own memory's.
        temperature: what cosines are divided by.
    """
    rows = len(messages)
    cosines = messages @ memories.T / temperature
    same = groups[:rows, None] == groups[None]
    return _ranking(cosines, same) + _ranking(cosines[:, :rows].T, same[:, :rows].T)


def _ranking(scores: Tensor, right: Tensor) -> Tensor:
    return -((scores.log_softmax(1) * right).sum(1) / right.sum(1)).mean()


def ranking_rows(lines: Sequence[TopicLine], rows: int, seed: int) -> Dataset:
    """`rows` rows of message, memory and neighbour, the memory of a line whose key has a word in common.

    Every line stands as often as any other, give or take one. Where four draws bring no such neighbour, any line's
    memory stands for it.
    """
    random = Random(seed)
    by_word: dict[str, list[TopicLine]] = {}
    for line in lines:
        for word in sorted(set(line.key.split())):
            by_word.setdefault(word, []).append(line)
    number = {group: place for place, group in enumerate(sorted({line.group for line in lines}))}
    drawn: list[TopicLine] = []
    while len(drawn) < rows:
        drawn += random.sample(lines, len(lines))
    chosen = [(line, _neighbour(line, by_word, lines, random)) for line in drawn[:rows]]
    return Dataset.from_dict(
        {
            "message": [line.message for line, _ in chosen],
            "memory": [memory_text(line) for line, _ in chosen],
            "neighbour": [memory_text(other) for _, other in chosen],
            "label": [[number[line.group], number[other.group]] for line, other in chosen],
        }
    )


def _neighbour(
    line: TopicLine, by_word: dict[str, list[TopicLine]], lines: Sequence[TopicLine], random: Random
) -> TopicLine:
    for _ in range(4):  # tries
        other = random.choice(by_word[random.choice(line.key.split())])
        if other.group != line.group:
            return other
    return random.choice(lines)


def pair_rows(pairs: pd.DataFrame) -> Dataset:
    """The Cartesian pairs: memory of one line, message of the other, similarity of their keys."""
    columns = {"sentence1": "memory_0", "sentence2": "user_prompt_1", "score": "similarity_score"}
    return Dataset.from_dict({name: pairs[column].tolist() for name, column in columns.items()})


def train_encoder(
    encoder: SentenceTransformer, settings: Fitting, seed: int, log: Log, data: dict[str, Dataset], epochs: int = 1
) -> None:
    """Train in place, each data set's batches as often as it has some, in a random order.

    Rows under "ranking" are trained on by GroupRanking; those under "pairs" by the mean of
    (cos(memory, message) - similarity)^2 (Reimers & Gurevych 2019, regression objective).
    """
    disable_progress_bars()
    losses = {"ranking": GroupRanking(encoder), "pairs": CosineSimilarityLoss(encoder)}
    with TemporaryDirectory() as folder:  # the trainer asks for one; nothing is saved there
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup,  # below 1 it is a share of all steps
            multi_dataset_batch_sampler=MultiDatasetBatchSamplers.PROPORTIONAL,
            router_mapping=TASKS,
            prompts={column: prompt for column, task in TASKS.items() if (prompt := prompt_of(encoder, task))} or None,
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
            train_dataset=DatasetDict(data),
            loss={name: losses[name] for name in data},
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
