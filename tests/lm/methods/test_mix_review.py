import pytest

from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.methods.method import Share
from tasks.lm.methods.mix_review import MixReview
from tasks.method_params import MixReview as MixReviewSettings

SETTINGS = MixReviewSettings(name="mix_review", share=0.6, decay=0.5)
FRESH = [{"id": f"b/{number}", "prompt": "new", "target": f"{number:03}", "fact": None} for number in range(400)]
OLD = [{"id": f"a/{number}", "prompt": "old", "target": f"{number:03}", "fact": None} for number in range(400)]


def test_the_old_share_of_the_batches_decays_from_fifth_to_fifth(tiny):
    model, tokenizer = tiny
    shares = MixReview(SETTINGS, seed=0).examples([Share(FRESH, 1.0)], OLD)
    parts = [Part(encode(each.rows, tokenizer, 64), each.share, each.decay) for each in shares]
    data = Mixture(parts, 1200, 200, 0, model.device)
    for fifth in range(5):
        tokens = [0, 0]
        for step in range(40 * fifth, 40 * fifth + 40):
            for number, part in enumerate(parts):
                tokens[number] += sum(len(part.sequences[index].ids) for index in data.plans[number][step])
        ratio = 0.6 / 0.4 * 0.5**fifth  # of old to new (the paper's mix-ratio)
        assert tokens[1] / tokens[0] == pytest.approx(ratio, rel=0.1)


def test_the_oldest_slice_has_nothing_to_review():
    assert MixReview(SETTINGS, seed=0).examples([Share(FRESH, 1.0)], []) == [Share(FRESH, 1.0)]
