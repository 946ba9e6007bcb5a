"""`perennial chat`: brings the champion's models, or a slice's, and the user's memories together."""

from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape

from tasks import artifact
from tasks.errors import BadInput, PerennialError
from tasks.params import Chat, Params, load_params
from tasks.registry import store
from tasks.retrieval.policy import Policy

MODELS, EVALUATION = Path("models"), Path("reports/evaluation")
STORE = Path(".perennial/memories.db")


class Chosen(NamedTuple):
    """The models that answer, checked, and how they are to chat."""

    name: str  # for people: which they are
    lm: Path
    retriever: Path
    settings: Chat
    documents: Policy  # how they are used


def chat_with(root: Path, chosen: str | None, user: str, console: Console) -> None:
    """Talk with the champion, or with the model of the chosen slice."""
    name, lm, retriever, settings, documents = chosen_models(root, chosen)
    from tasks.memory.conversation import converse

    console.print(escape(f"{name}, with the memories of {user}."), style="dim", highlight=False)
    converse(lm, retriever, root / STORE, user, settings, console, documents)


def chosen_models(root: Path, chosen: str | None) -> Chosen:
    """The champion's models, or those of the chosen slice as they lie in models/.

    Raises:
        BadInput: the slice is unknown or not trained yet, or there is no champion.
        PerennialError: which version is champion, or what it is made of, can't be told now.
    """
    params = load_params(root / "params.yaml")
    if chosen is None:
        return _champion(root, params)
    if chosen not in params.timeline:
        raise BadInput(f"There is no slice '{chosen}'. The slices are: {', '.join(params.timeline)}.")
    lm, retriever = (artifact.verified(root / MODELS / chosen / part) for part in ("lm", "retriever"))
    scores = root / EVALUATION / chosen / "scores.json"
    name = f"The model of {chosen} in {MODELS / chosen}, champion or not"
    return _chosen(name, lm, retriever, params, artifact.read_json(scores) if scores.exists() else {})


def _champion(root: Path, params: Params) -> Chosen:
    from tasks.registry.champion import champion, scores_of
    from tasks.registry.fetch import models_of

    try:
        found = champion(store.names_of(params.registry))
        if not found:
            raise BadInput("No model is champion yet. Run `perennial run`, or choose one with `--model SLICE`.")
        folder = models_of(found, root)
        return _chosen(f"The champion, {found}", folder / "lm", folder / "retriever", params, scores_of(found))
    except store.Unreachable as error:
        raise PerennialError(f"{error} So nobody knows the champion now: choose one with `--model SLICE`.") from error


def _chosen(name: str, lm: Path, retriever: Path, params: Params, scores: dict[str, Any]) -> Chosen:
    from tasks.scoring.retrieval_use import policy_of

    return Chosen(name, lm, retriever, params.chat, policy_of(scores))
