"""A small encoder that transformers wrote is loaded and encodes prompts."""

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.models.text.transformers import make_encode_fn


def test_missing_packages_or_files_are_named(tmp_path):
  with pytest.raises(UserError, match=r'cinejax\[torch\]|no text encoder'):
    make_encode_fn(tmp_path, 8)


def test_a_local_encoder_is_asked(tmp_path):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  tokenizers = pytest.importorskip('tokenizers')
  words = {'<pad>': 0, '</s>': 1, '<unk>': 2, 'ada': 3, 'walks': 4}
  tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, '<unk>'))
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, pad_token='<pad>', unk_token='<unk>'
  ).save_pretrained(tmp_path / 'tokenizer')
  sizes = {'vocab_size': 8, 'd_model': 16, 'd_kv': 4, 'd_ff': 16}
  model = transformers.UMT5EncoderModel(
    transformers.UMT5Config(num_layers=1, num_heads=4, **sizes)
  ).eval()
  model.save_pretrained(tmp_path / 'text_encoder')
  hidden = make_encode_fn(tmp_path, 2)('ada\n walks ada')
  with torch.no_grad():
    want = model(input_ids=torch.tensor([[3, 4]])).last_hidden_state[0]
  assert hidden.shape == (2, 16) and hidden.dtype == np.float32
  np.testing.assert_allclose(hidden, want.numpy(), atol=1e-6)
