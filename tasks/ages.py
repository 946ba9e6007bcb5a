"""What one model makes of every slice's texts, those that came after it, too.

`python -m tasks.ages MODEL EXAMPLES OUT`, in a process of its own, whose memory is its own; EXAMPLES are the newest
slice's, through which the others are found.
"""

import json
import sys
from pathlib import Path

import torch

from tasks import artifact
from tasks.corpus.slices import history
from tasks.errors import exit_code_of
from tasks.lm.causal import load
from tasks.lm.logits import compute_in
from tasks.lm.shares import at_most
from tasks.params import Params, load_params
from tasks.scoring.ages import own_texts
from tasks.scoring.answers import perplexity


def age(params: Params, model: Path, examples: Path, out: Path) -> None:
    """Write, as JSON, the model's perplexity of each slice's texts; null where a slice has none.

    Raises:
        BadInput: the model is missing.
        Corrupt: a file of the model or the examples was changed.
    """
    lm, tokenizer = load(model)
    found = {
        name: perplexity(lm, tokenizer, at_most(rows, params.evaluate.rows, params.seed), params.evaluate.batch_tokens)
        for name, rows in own_texts(history(examples)).items()
    }
    artifact.write_file(out, json.dumps(found).encode())


def main() -> int:
    model, examples, out = map(Path, sys.argv[1:])
    params = load_params()
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(True)
    compute_in(params.precision)
    return exit_code_of(lambda: age(params, model, examples, out))


if __name__ == "__main__":
    raise SystemExit(main())
