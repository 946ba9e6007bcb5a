import numpy as np
import torch

from tasks.lm.solved.codes import bound, codes_of, signs, tied

WIDTH = 1024


def test_the_signs_of_a_name_are_the_bits_of_philox_and_hang_on_nothing_else():
    words = np.random.Philox(key=np.array([3, 7], np.uint64)).random_raw(WIDTH // 64)
    bits = [int(word) >> place & 1 for word in words for place in range(64)]
    # unpackbits begins with the highest bit of each byte
    expected = [2 * bits[8 * (at // 8) + 7 - at % 8] - 1 for at in range(WIDTH)]
    assert signs(3, [7], WIDTH)[0].tolist() == expected
    assert signs(3, [5, 7, 9], WIDTH)[1].tolist() == expected
    assert signs(4, [7], WIDTH)[0].tolist() != expected


def test_the_codes_of_two_tokens_have_nothing_in_common():
    codes = signs(1, range(300), WIDTH).float()
    products = codes @ codes.T / WIDTH
    assert products.diagonal().eq(1).all()
    others = products[~torch.eye(300, dtype=torch.bool)]
    assert others.abs().max() < 6 / WIDTH**0.5 and abs(float(others.std()) - WIDTH**-0.5) < 2e-3


def test_what_ties_a_token_hangs_on_all_that_stands_before_it_and_on_their_order():
    one, other = codes_of([1, 2], WIDTH)
    start = torch.ones(WIDTH)
    ways = [
        start,
        tied(start, one),
        tied(tied(start, one), other),
        tied(tied(start, other), one),
        tied(tied(start, one), one),
    ]
    for place, way in enumerate(ways):
        assert torch.equal(way * way, start)
        assert all(abs(float(way @ each)) / WIDTH < 0.2 for each in ways[:place])


def told(vector, tokens, count):
    """The tokens that a vector says, one after the other."""
    codes, before, said = codes_of(tokens, WIDTH), torch.ones(WIDTH), []
    for _ in range(count):
        best = int(((vector * before) @ codes.T).argmax())
        said.append(tokens[best])
        before = tied(before, codes[best])
    return said


def test_an_answer_of_sixteen_tokens_is_told_again_from_its_vector():
    names = list(range(2000))
    answer = [(37 * place + 11) % 2000 for place in range(15)] + [11]  # a token may come twice
    (vector,) = bound([answer], WIDTH)
    assert told(vector, names, 16) == answer
    scores = vector @ codes_of(names, WIDTH).T / WIDTH
    noise = scores[torch.tensor([name != answer[0] for name in names])]
    assert abs(float(noise.std()) - (15 / WIDTH) ** 0.5) < 0.02  # as the docstring says


def test_of_a_blend_one_whole_answer_is_told_and_not_the_likeliest_token_of_each_place():
    answers = [[1, 2, 3], [4, 5, 6], [7, 5, 6]]
    vectors = bound(answers, WIDTH)
    blend = torch.tensor([0.4, 0.3, 0.3]) @ vectors  # at the second place 5 is likelier than 2, but not behind 1
    assert told(blend, list(range(10)), 3) == [1, 2, 3]
