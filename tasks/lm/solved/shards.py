"""The sums of a slice in shards: each has its own batches, and lies in a folder of its own until all are added. Where a
slice comes in parts, a shard has a file for each.

The batches of a slice are the same however many shards it has, and sums of whole numbers have no order. So the sums are
those of one process to the last bit, whichever processes made the shards, as long as their machines compute alike.
"""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks import artifact
from tasks.corpus.slices import Row
from tasks.errors import BadInput, Corrupt
from tasks.lm.solved.learn import add_rows
from tasks.lm.solved.module import Memory
from tasks.lm.solved.sums import Sums


def shards_in(scratch: Path, count: int) -> list[Path]:
    """Where the shards of a slice lie, or are to lie."""
    return [scratch / f"shard-{number}-of-{count}" for number in range(count)]


def is_made(shard: Path) -> bool:
    """Whether a shard is there, whole; one that is torn or rotten is made again."""
    try:
        artifact.verified(shard)
    except (BadInput, Corrupt):
        return False
    return True


def make_shard(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: Memory, parts: list[list[Row]], shard: Path
) -> None:
    """Write the sums of one shard of a slice's parts.

    Raises:
        BadInput: see `add_rows`.
    """
    number, count = (int(word) for word in shard.name.split("-")[1::2])
    with artifact.writing(shard) as folder:
        for part, rows in enumerate(parts):
            sums = Sums.empty(memory.settings.width, memory.settings.codes, memory.head.out_features)
            add_rows(model, tokenizer, memory, sums, rows, shard=(number, count))
            sums.save(sums_of(folder, part))


def sums_of(shard: Path, part: int) -> Path:
    """Where the sums of a slice's part lie in a shard."""
    return shard / f"sums-{part}.safetensors"


def add_shards(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    memory: Memory,
    shards: list[Path],
    sums: Sums,
    parts: list[list[Row]],
    part: int,
) -> None:
    """Add one of a slice's parts to sums, shard by shard: those that are there as they are, the others once made.

    Raises:
        BadInput: see `add_rows`.
    """
    for shard in shards:
        if not is_made(shard):
            make_shard(model, tokenizer, memory, parts, shard)
        sums.merge(Sums.load(sums_of(shard, part)))
