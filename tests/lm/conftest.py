import pytest

from tasks.lm.causal import build
from tasks.params import Pretrain

SETTINGS = Pretrain(
    slice="one", model="small", layers=2, width=32, heads=2, positions=64, vocabulary=320, steps=4,
    batch_tokens=128, learning_rate=1e-3, warmup=0.1,
)  # fmt: skip

ROWS = [
    {
        "id": f"one/{number}",
        "kind": "question",
        "fact": f"one/{number}",
        "prompt": f"Who leads {name}?",
        "target": leader,
    }
    for number, (name, leader) in enumerate(
        [("Norway", "Ada"), ("Peru", "Ben"), ("Chile", "Cleo"), ("Japan", "Dan"), ("Egypt", "Eve"), ("Fiji", "Finn")]
    )
]
STATEMENTS = [{**row, "prompt": "", "target": f"{row['target']} leads. Everyone agrees."} for row in ROWS]


@pytest.fixture
def rows():
    return [*ROWS, *STATEMENTS]


@pytest.fixture
def tiny(rows):
    """A GPT-NeoX of a few thousand parameters and its tokenizer."""
    return build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
