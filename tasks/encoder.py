"""The base encoder, which every retriever starts from: built small and trained on everyday topics, or by name."""

from pathlib import Path

from tasks import artifact
from tasks.corpus.cartesian import memory_text
from tasks.corpus.topics import read_topics, topic_lines
from tasks.params import SMALL, Encoder, Pretrained
from tasks.steps import Log

DEFAULT = Pretrained()


def encoder(settings: Encoder, seed: int, topics: Path, out: Path, log: Log, pretrained: Pretrained = DEFAULT) -> None:
    """Write the encoder, and the lines that the topics make: those to go on training with, those held out.

    Raises:
        BadInput: there is no such encoder, or a file of topics is not what it should be.
    """
    from safetensors.numpy import save_file

    from tasks.retrieval.encoder import build_encoder, load_encoder, save_encoder, shorten
    from tasks.retrieval.head_training import save_states
    from tasks.retrieval.pretrained import write_base
    from tasks.retrieval.rankers import inverse_frequencies
    from tasks.retrieval.search import FREQUENCIES, IDF, MODEL
    from tasks.retrieval.training import ranking_rows, train_encoder

    read = read_topics(topics)
    train, held_out = topic_lines(read, settings.copies, seed)
    with artifact.writing(out) as folder:
        texts = sorted({text for line in train for text in (memory_text(line), line.message)})
        if settings.model == SMALL:
            made = build_encoder(settings, texts, seed)
            train_encoder(
                made, settings, seed, log, {"ranking": ranking_rows(train, len(train), seed)}, settings.epochs
            )
        else:
            made = load_encoder(settings.model)
            shorten(made, settings.max_length)
            if settings.frozen:
                save_states(made, train, folder)
        save_encoder(made, folder / MODEL)
        write_base(folder, None if settings.model == SMALL else pretrained)
        save_file({IDF: inverse_frequencies(texts)}, folder / FREQUENCIES)
        for name, lines in (("train", train), ("held_out", held_out)):
            artifact.write_rows(folder / f"{name}.jsonl", [line._asdict() for line in lines])
        variants = {
            "words": [group for each in read for group in each.words],
            "frames": [f for each in read for f in each.frames],
        }
        artifact.write_json(folder / "variants.json", variants)
