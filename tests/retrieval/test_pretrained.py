"""An encoder that was pretrained elsewhere is trained on at a rate of its own."""

from pathlib import Path

from tasks.params import Pretrained, load_params
from tasks.retrieval.pretrained import retriever_for, write_base

SETTINGS = load_params(Path(__file__).parents[2] / "params.yaml").retriever


def test_a_pretrained_encoder_is_trained_at_its_own_rate(tmp_path):
    write_base(tmp_path, Pretrained(retriever_learning_rate=3e-5))
    assert retriever_for(SETTINGS, tmp_path) == SETTINGS.model_copy(update={"learning_rate": 3e-5})


def test_an_encoder_built_here_is_trained_at_the_sections_rate(tmp_path):
    write_base(tmp_path, None)
    assert retriever_for(SETTINGS, tmp_path) == SETTINGS
