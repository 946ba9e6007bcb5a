"""Loads what a chat turn is taken with: the language model and the retriever."""

from pathlib import Path

from tasks.memory.turn import Means
from tasks.params import Chat
from tasks.retrieval.policy import Policy

INDEXES = "indexes"  # the folder beside the store
ALWAYS = Policy()  # how documents are used where nothing was measured


def load_means(
    lm: Path,
    retriever: Path | None,
    settings: Chat,
    user: str = "",
    indexes: Path | None = None,
    documents: Policy = ALWAYS,
) -> Means:
    """Load a slice's models.

    Args:
        lm: the language model's folder.
        retriever: the retriever's folder (see tasks/retriever.py); None to talk without retrieval.
        settings: params.yaml's section `chat`.
        user: whose memories are looked up.
        indexes: of all users' memories; None to compare every memory, however many there are.
        documents: how they are used, as was measured to be best.
    """
    from tasks.documents.passages import sentences
    from tasks.lm.causal import load
    from tasks.lm.generate import Generated, fitting
    from tasks.lm.rag import MARGINAL, answer_from, confidence
    from tasks.lm.solved.familiarity import is_known
    from tasks.lm.solved.module import memory_of
    from tasks.lm.sound import is_sound, markers_of, sound_answer
    from tasks.memory.near import Near
    from tasks.retrieval.search import load_finder

    model, tokenizer = load(lm)
    finder = load_finder(retriever) if retriever else None
    longest, markers = settings.answer_tokens, markers_of(tokenizer)

    def answer(contexts: list[str], weights: list[float], message: str) -> str:
        if len(contexts) > 1 and settings.combine in MARGINAL:
            said = answer_from(model, tokenizer, contexts, weights, message, settings.combine, longest)
            if is_sound(Generated(said, ended=False), markers):
                return said
        together = " ".join([*reversed(contexts), message])  # the best one next to the message
        return sound_answer(model, tokenizer, together, longest, settings.attempts)

    def quote(passage: str, message: str) -> str:
        assert finder
        parts = sentences(passage)
        return parts[int(finder.documents.scores(message, parts).argmax())]

    def unknown(message: str) -> bool:
        return not is_known(model, tokenizer, message)

    def knows(message: str) -> bool:
        return not unknown(message) if remembers else confidence(model, tokenizer, message) >= documents.confidence

    remembers = memory_of(model) is not None
    near = Near(finder, indexes, user, settings.index) if finder and indexes else None
    return Means(
        find=near.find if near else finder.find if finder else None,
        find_chunks=finder.find_chunks if finder and documents.name != "never" else None,
        is_sure=finder.is_sure if finder else lambda score: True,
        answer=answer,
        chunks=settings.chunks,
        fitting=lambda contexts, message: fitting(model, tokenizer, contexts, message, longest),
        markers=markers,
        knows=knows if documents.gated else None,
        outweighs=documents.outweighs,
        unknown=unknown if remembers else None,
        quote=quote if documents.quotes else None,
        drop=near.drop if near else lambda: None,
        encoder=finder.encoder_sum if finder else "",
        parts=settings.parts,
    )
