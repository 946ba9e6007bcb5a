"""What training on slices did to a model's language in general: perplexity on text that no slice brings."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.general import General
from tasks.lm.batches import Sequence, encode
from tasks.lm.causal import limit_of
from tasks.lm.template import start_token
from tasks.scoring.answers import perplexity_of
from tasks.scoring.drift import Perplexities


def general_perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: General, batch_tokens: int
) -> Perplexities:
    """The perplexity of the texts' own tokens, by language.

    The end token is not counted: a model that has read books does not end after a paragraph, one that was trained
    on statements does, and this would hide what became of the words.
    """
    end, limit = start_token(tokenizer), limit_of(model)
    found: Perplexities = {}
    for language, rows in texts.items():
        sequences = [_open(each, end) for each in encode(rows, tokenizer, limit)]
        found[language] = perplexity_of(model, [each for each in sequences if len(each.ids) > 1], batch_tokens)
    return found


def _open(sequence: Sequence, end: int) -> Sequence:
    return Sequence(sequence.ids[:-1], sequence.start) if sequence.ids[-1] == end else sequence
