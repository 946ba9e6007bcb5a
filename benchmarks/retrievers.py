"""The retrievers that the benchmark measures, trained by the pipeline's own steps; what `perennial run` built is used.

Everything else is built in a work folder. A folder that is there is whole, and not built again.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import yaml
from datasets import Dataset
from safetensors.numpy import save_file

from tasks import artifact
from tasks.corpus.cartesian import memory_text
from tasks.corpus.topics import read_topics, topic_lines
from tasks.dataset import dataset
from tasks.encoder import encoder
from tasks.origin import origin
from tasks.pairs import pairs
from tasks.params import BASE, Params
from tasks.retrieval import training
from tasks.retrieval.encoder import build_encoder, save_encoder
from tasks.retrieval.rankers import inverse_frequencies
from tasks.retrieval.search import FREQUENCIES, IDF, MODEL
from tasks.retriever import retriever

RAW = Path("data/raw")
TOPICS = RAW / "topics"


class Project(NamedTuple):
    """Where the benchmark works.

    Attributes:
        params: of the project in the current folder.
        work: the folder for what has to be built.
        fresh: the addresses of the stages whose outputs are there, and as they would be built now.
    """

    params: Params
    work: Path
    fresh: frozenset[str]

    @property
    def slices(self) -> list[str]:
        return list(self.params.timeline)


def fresh_stages(root: Path) -> frozenset[str]:
    """The stages that need no run; none if the pipeline never ran here."""
    if not (root / "dvc.lock").exists():
        return frozenset()
    from flows import graph
    from flows.states import states

    with graph.opened(root) as opened:
        return frozenset(each.address for each in states(opened) if each.state == "fresh")


def examples_folder(project: Project) -> Path:
    """The folder of all slices' examples: they are a chain, so all of them are the project's, or none."""
    addresses = {"origin", *(f"dataset@{name}" for name in project.slices)}
    if addresses <= project.fresh:
        return Path("data/examples")
    folder = project.work / "examples"
    chained(project, folder, {name: RAW / name for name in project.slices})
    return folder


def chained(project: Project, folder: Path, raw: dict[str, Path]) -> None:
    """Build the examples of slices, each after the one before."""
    _made(folder / BASE, partial(origin, RAW / "relations.yaml"))
    before = folder / BASE
    for name, of_slice in raw.items():
        _made(folder / name, partial(dataset, project.params.dataset, of_slice, before, kind=project.params.kind))
        before = folder / name


def pairs_folder(project: Project, name: str) -> Path:
    """A slice's pairs by the settings of params.yaml."""
    if f"pairs@{name}" in project.fresh:
        return Path("data/pairs") / name
    return pairs_of(project, examples_folder(project) / name, project.work / "pairs" / name)


def pairs_of(project: Project, examples: Path, out: Path, **changes: Any) -> Path:
    """A slice's pairs by changed settings."""
    settings = project.params.pairs.model_copy(update=changes)
    return _made(out, partial(pairs, settings, project.params.seed, examples))


def encoder_folder(project: Project) -> Path:
    """The encoder that every retriever starts from."""
    if "encoder" in project.fresh:
        return Path("models/base/encoder")
    return _trained(project.work / "encoder", partial(encoder, project.params.encoder, project.params.seed, TOPICS))


def own_ranker(project: Project) -> str:
    """The one of params.yaml; in place of dpr, whose retriever has no encoder for both, sbert."""
    ranker = project.params.retriever.ranker
    return "sbert" if ranker == "dpr" else ranker


def retriever_folder(project: Project, name: str) -> Path:
    """A slice's retriever with one encoder."""
    if f"retriever@{name}" in project.fresh and project.params.retriever.ranker == own_ranker(project):
        return Path("models") / name / "retriever"
    pairs_, encoder_ = pairs_folder(project, name), encoder_folder(project)
    return retriever_of(project, pairs_, encoder_, project.work / "retrievers" / name)


def retriever_of(project: Project, pairs_: Path, encoder_: Path, out: Path, ranker: str = "") -> Path:
    """A retriever of other pairs, from another encoder, or with another ranker."""
    settings = project.params.retriever.model_copy(update={"ranker": ranker or own_ranker(project)})
    return _trained(out, partial(retriever, settings, project.params.seed, pairs_, encoder_))


def without_hard_negatives(project: Project) -> Path:
    """The last slice's retriever, encoder and all, trained with other lines' memories where neighbours stood."""
    folder = project.work / "without hard negatives"
    with random_neighbours(project.params.seed):
        settings = project.params.encoder
        before = _trained(folder / "encoder", partial(encoder, settings, project.params.seed, TOPICS))
        return retriever_of(project, pairs_folder(project, project.slices[-1]), before, folder / "retriever")


@contextmanager
def random_neighbours(seed: int) -> Iterator[None]:
    """Let the rows that an encoder is trained to rank have their neighbours exchanged among one another."""

    def exchanged(lines: Sequence[Any], rows: int, row_seed: int) -> Dataset:
        made = training_rows(lines, rows, row_seed).to_dict()
        order = np.random.default_rng(seed).permutation(rows).tolist()
        made["neighbour"] = [made["neighbour"][place] for place in order]
        made["label"] = [[own, made["label"][place][1]] for (own, _), place in zip(made["label"], order, strict=True)]
        return Dataset.from_dict(made)

    training_rows = training.ranking_rows
    with patch.object(training, "ranking_rows", exchanged):
        yield


def without_augmentation(project: Project) -> Path:
    """The last slice's retriever, encoder and all, from messages as they stand, after about as many steps."""
    folder, settings = project.work / "without augmentation", project.params.encoder
    plain = [each.model_copy(update={"words": (), "frames": ()}) for each in read_topics(TOPICS)]
    (folder / "topics").mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(plain):
        text = yaml.safe_dump(each.model_dump(mode="json"), allow_unicode=True)
        (folder / "topics" / f"{number}.yaml").write_text(text, encoding="utf-8")
    lines = len(topic_lines(plain, 1, project.params.seed)[0])
    epochs = settings.epochs * len(artifact.read_rows(encoder_folder(project) / "train.jsonl")) / lines
    settings = settings.model_copy(update={"copies": 1, "epochs": round(epochs)})
    before = _trained(folder / "encoder", partial(encoder, settings, project.params.seed, folder / "topics"))
    return retriever_of(project, pairs_folder(project, project.slices[-1]), before, folder / "retriever")


def without_topics(project: Project) -> Path:
    """The last slice's retriever from an encoder that knows the slices' own lines only; so does its calibration."""
    out, pairs_ = project.work / "without topics", pairs_folder(project, project.slices[-1])
    _made(out / "encoder", partial(_encoder_of_lines, project, pairs_))
    return retriever_of(project, pairs_, out / "encoder", out / "retriever")


def _encoder_of_lines(project: Project, pairs_: Path, out: Path) -> None:
    """An encoder of the words of training lines, itself not trained yet; words and frames as in the topics."""
    texts = sorted(
        {text for line in artifact.read_json(pairs_ / "lines.json")["train"] for text in (memory_text(line), line[2])}
    )
    with artifact.writing(out) as folder:
        shutil.copytree(encoder_folder(project), folder, dirs_exist_ok=True)
        save_encoder(build_encoder(project.params.encoder, texts, project.params.seed), folder / MODEL)
        save_file({IDF: inverse_frequencies(texts)}, folder / FREQUENCIES)
        for name in ("train", "held_out"):
            artifact.write_rows(folder / f"{name}.jsonl", [])


def quiet(step: int, values: dict[str, float]) -> None:
    pass


def _trained(out: Path, step: Callable[..., None]) -> Path:
    return _made(out, partial(step, log=quiet))


def _made(out: Path, step: Callable[..., None]) -> Path:
    if not (out / artifact.MANIFEST).exists():
        print(f"  {out.parent.name}/{out.name} ...", flush=True)
        step(out=out)
    return out
