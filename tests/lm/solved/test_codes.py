import numpy as np
import torch

from tasks.lm.solved.codes import bound, codes_of, signs, turned

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


def test_turning_back_undoes_turning():
    vectors, places = torch.randn(4, WIDTH), torch.tensor([0, 1, 5, WIDTH + 2])
    there = turned(vectors, places)
    assert torch.equal(there, torch.stack([row.roll(int(place)) for row, place in zip(vectors, places, strict=True)]))
    assert torch.equal(turned(there, -places), vectors)


def test_an_answer_of_sixteen_tokens_is_told_again_from_its_vector():
    names = list(range(2000))
    codes = codes_of(names, WIDTH)
    answer = [(37 * place + 11) % 2000 for place in range(15)] + [11]  # a token may come twice
    vector = bound([answer], WIDTH)
    back = turned(vector.expand(16, WIDTH), -torch.arange(16))
    scores = back @ codes.T / WIDTH
    assert scores.argmax(-1).tolist() == answer
    noise = scores[0][torch.tensor([name not in answer for name in names])]
    assert abs(float(noise.std()) - (16 / WIDTH) ** 0.5) < 0.02  # as the docstring says
