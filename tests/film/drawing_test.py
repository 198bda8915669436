import numpy as np
from PIL import ImageFont

from cinejax.film import drawing


def test_captions_fit():
  font = ImageFont.load_default(14)
  text = 'the quick brown fox jumps over the lazy dog ' * 9
  lines = drawing.wrap(text, font, 200, 4)
  assert len(lines) == 4 and lines[-1].endswith('…')
  assert max(font.getlength(line) for line in lines) <= 200
  short = drawing.wrap('a fox', font, 200, 4)
  assert short == ['a fox']
  whole = drawing.wrap(text, font, 200, 99)
  assert ' '.join(whole) == text.strip()


def test_thumbnails_grow_by_a_whole_factor_and_stay_sharp():
  rng = np.random.default_rng(0)
  image_YXC = rng.integers(0, 256, (16, 16, 3), np.uint8)
  size = drawing.thumbnail_size(16, 16)
  assert size == (128, 128)
  shown_YXC = np.asarray(drawing.thumbnail(image_YXC, size))
  np.testing.assert_array_equal(shown_YXC[::8, ::8], image_YXC)
