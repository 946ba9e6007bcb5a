"""What a model says to visitors' questions about ten pages that became a slice: `python -m benchmarks.page_questions`.

SLICE is a folder of models, as models/2025 after `perennial add 2025 tests/questions/pages` and `perennial run`. Pages
and questions (tests/questions/pages, pages.jsonl, untaught_pages.txt) are those of an invented museum, written by
somebody who saw nothing of the rules that make a slice of pages. The model is asked alone, and by a user whose chat has
learnt the pages, too (`perennial learn`). Right: the answer has the expected words in it. Hinted: it says that it does
not know, and the passage that it shows has them.
"""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from benchmarks.everyday_questions import QUESTIONS
from tasks import artifact
from tasks.documents.passages import read_document
from tasks.documents.reading import pages_in
from tasks.memory.means import load_means
from tasks.memory.store import learn, opened
from tasks.memory.turn import HINT, NO_ANSWER, UNKNOWN, Turn, take_turn
from tasks.params import PARAMS, load_params
from tasks.scoring.retrieval_use import policy_of

PAGES, USER = QUESTIONS / "pages", "visitor"


def main(slice_folder: Path, verbose: bool = False) -> None:
    """Ask all questions both ways; print the counts, and what was wrong."""
    scores = Path("reports/evaluation") / slice_folder.name / "scores.json"
    documents = policy_of(artifact.read_json(scores) if scores.exists() else {})
    settings = load_params(Path(PARAMS)).chat
    lines = (QUESTIONS / "pages.jsonl").read_text(encoding="utf-8").splitlines()
    asked = {row["input"]: row["answer"] for row in map(json.loads, lines)}
    untaught = dict.fromkeys((QUESTIONS / "untaught_pages.txt").read_text(encoding="utf-8").splitlines(), None)
    for name, pages in (("the model alone", []), ("with the pages learnt by the chat", pages_in(PAGES))):
        retriever = slice_folder / "retriever" if pages else None
        means = load_means(slice_folder / "lm", retriever, settings, documents=documents)
        with TemporaryDirectory() as folder, opened(Path(folder) / "memories.db") as connection:
            for page in pages:
                learn(connection, USER, *read_document(page))
            for kind, questions in (("answered by a page", asked), ("answered by none", untaught)):
                verdicts: Counter[str] = Counter()
                for question, answer in questions.items():
                    turn = take_turn(connection, USER, question, means)
                    verdicts[found := verdict(turn, answer)] += 1
                    if verbose or found == "wrong":
                        print(f"{found:>10}: {question} {turn.answer}", flush=True)
                print(f"{name}; {kind}, {len(questions)}: {dict(sorted(verdicts.items()))}", flush=True)


def verdict(turn: Turn, answer: str | None) -> str:
    """Right, wrong or unknown, or of what is unknown: hinted, or hinted wrongly."""
    right = answer is not None and answer.casefold() in turn.answer.casefold()
    if turn.answer in (UNKNOWN, NO_ANSWER):
        return "unknown"
    if turn.answer.startswith(UNKNOWN + HINT):
        return "hinted" if right else "hinted wrongly"
    return "right" if right else "wrong"


if __name__ == "__main__":
    typer.run(main)
