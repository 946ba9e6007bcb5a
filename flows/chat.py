"""`perennial chat`: brings a slice's model, its retriever and the user's memories together."""

from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from tasks import artifact
from tasks.errors import BadInput
from tasks.params import Chat, load_params

MODELS, EVALUATION = Path("models"), Path("reports/evaluation")
STORE = Path(".perennial/memories.db")


class Chosen(NamedTuple):
    """A slice's models, checked, and how they are to chat."""

    name: str
    lm: Path
    retriever: Path
    settings: Chat
    documents: tuple[str, float]  # how they are used


def chat_with(root: Path, chosen: str | None, user: str, console: Console) -> None:
    """Talk with the model of the chosen slice, by default the champion's."""
    name, lm, retriever, settings, documents = chosen_models(root, chosen)
    from tasks.memory.conversation import converse

    console.print(escape(f"The model of {name}, with the memories of {user}."), style="dim", highlight=False)
    converse(lm, retriever, root / STORE, user, settings, console, documents)


def chosen_models(root: Path, chosen: str | None) -> Chosen:
    """The models of the chosen slice, by default the champion's.

    Raises:
        BadInput: the slice is unknown or not trained yet, or there is no champion.
    """
    name = _champion() if chosen is None else chosen
    params = load_params(root / "params.yaml")
    if name not in params.timeline:
        raise BadInput(f"There is no slice '{name}'. The slices are: {', '.join(params.timeline)}.")
    from tasks.scoring.retrieval_use import policy

    folder = root / MODELS / name
    lm, retriever = (artifact.verified(folder / part) for part in ("lm", "retriever"))
    scores = root / EVALUATION / name / "scores.json"
    documents = policy(artifact.read_json(scores) if scores.exists() else {})
    return Chosen(name, lm, retriever, params.chat, documents)


def _champion() -> str:
    from tasks.registry.versions import champion

    if name := champion():
        return name
    raise BadInput("No model is champion yet. Run `perennial run`, or choose one with `--model SLICE`.")
