import math

import pytest
import torch
from torch.nn.functional import normalize

from tasks.lm.solved.features import LEVELS, Letters, counted, features, grams

QUESTIONS = [f"What is the capital of {name}?" for name in ("Peru", "Chile", "Ghana", "Nepal", "Cuba")]


def test_features_are_whole_numbers_and_their_products_the_arc_cosine_kernel():
    torch.manual_seed(1)
    angle = 0.7
    one, other = torch.zeros(1, 8), torch.zeros(1, 8)
    one[0, 0], other[0, 0], other[0, 1] = 1.0, math.cos(angle), math.sin(angle)
    width = 2**14
    seen = features([torch.cat([one, other])], width)
    assert seen.eq(seen.round()).all() and seen.min() == 0 and seen.max() <= 127
    found = float(seen[0] @ seen[1]) / (LEVELS**2 * width)
    kernel = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)  # Cho and Saul 2009, equation 3
    assert found == pytest.approx(kernel, rel=0.03)


def test_the_length_of_what_is_seen_does_not_count():
    parts = [normalize(torch.randn(3, 5), dim=-1)]
    assert torch.equal(features(parts, 64), features([4 * each for each in parts], 64))


def test_grams_know_no_case_no_width_and_no_signs():
    assert list(grams("The  CAPITAL, of Ｐｅｒｕ?!")) == list(grams("the capital of peru"))
    assert list(grams("ab")) == ["ab", "<ab", "ab>", "<ab>", "<ab>"]
    assert "".join(grams("")) == ""


def test_names_count_and_what_every_question_has_does_not():
    letters = Letters(counted(QUESTIONS * 100), 1024)
    asked, reworded, other = letters(
        ["What is the capital of Togo?", "Togo: its capital?", "What is the capital of Mali?"]
    )
    assert asked @ reworded > 0.6 and asked @ other < 0.4
    typo = letters(["what is the captial of Togo"])[0]
    assert asked @ typo > 0.5
    assert letters([""])[0].abs().sum() == 0


def test_of_what_was_counted_no_gram_can_be_read():
    counts = counted(QUESTIONS)
    assert counts.dtype == torch.int32 and int(counts.sum()) == sum(len(list(grams(each))) for each in QUESTIONS)
