import numpy as np
import pytest

from cinejax.evaluation import saved_films
from cinejax.film import media


@pytest.mark.parametrize(
  ('size', 'written', 'read'),
  [
    ((64, 64), (128, 128), (64, 64)),
    ((256, 320), (256, 320), (128, 160)),  # no larger than a sheet shows
  ],
)
def test_small_films_keep_their_pixels(tmp_path, size, written, read):
  colours = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3))
  factor = size[0] // 8, size[1] // 8
  video = colours.repeat(factor[0], 1).repeat(factor[1], 2).astype(np.uint8)
  path = saved_films.film_path(tmp_path, 7)
  saved_films.write(path, video, fps=8)
  assert path.name == '007.mp4'
  info = media.probe(path)
  assert (info.height, info.width) == written
  again = np.stack(list(saved_films.read(path, *size)))
  assert again.shape == (5, *read, 3)
  step = read[0] // 8, read[1] // 8
  middles = again[:, step[0] // 2 :: step[0], step[1] // 2 :: step[1]]
  assert np.abs(middles.astype(int) - colours).mean() < 6
