"""`perennial chat`: brings a slice's model, its retriever and the user's memories together."""

from pathlib import Path

from rich.console import Console

from tasks import artifact
from tasks.errors import BadInput
from tasks.params import load_params

MODELS = Path("models")
STORE = Path(".perennial/memories.db")


def chat_with(root: Path, chosen: str | None, user: str, console: Console) -> None:
    """Talk with the model of the chosen slice, by default the champion's.

    Raises:
        BadInput: the slice is unknown or not trained yet, or there is no champion.
    """
    name = chosen or _champion()
    params = load_params(root / "params.yaml")
    if name not in params.timeline:
        raise BadInput(f"There is no slice '{name}'. The slices are: {', '.join(params.timeline)}.")
    folder = root / MODELS / name
    lm = artifact.verified(folder / "lm")
    retriever = artifact.verified(folder / "retriever")
    metrics = artifact.read_json(retriever / "metrics.json")
    from tasks.memory.conversation import converse

    console.print(f"The model of {name}, with the memories of {user}.", style="dim", highlight=False)
    threshold = metrics.get("threshold", params.retriever.threshold)
    converse(lm, retriever, root / STORE, user, threshold, console)


def _champion() -> str:
    from tasks.registry.versions import champion

    if name := champion():
        return name
    raise BadInput("No model is champion yet. Run `perennial run`, or choose one with `--model SLICE`.")
