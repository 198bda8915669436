import jax
import numpy as np
import pytest

from cinejax.models.codec.tiling import Tiles


@pytest.mark.parametrize(
  'tiles',
  [
    Tiles((7, 10), (4, 4), 1),
    Tiles((7, 10), (7, 4), 3),
    Tiles((60, 104), (32, 32), 8),
  ],
)
def test_blended_tiles_are_the_picture(tiles):
  x = jax.random.normal(jax.random.key(0), (2, *tiles.size, 3))
  cut = tiles.cut(x)
  assert cut.shape == (len(tiles), 2, *tiles.tile, 3)
  np.testing.assert_allclose(tiles.blend(cut), x, atol=1e-5)


def test_tiles_lie_alike_at_every_resolution():
  tiles = Tiles((7, 10), (4, 4), 1)
  x = jax.random.normal(jax.random.key(0), (*tiles.size, 3))
  large = x.repeat(8, 0).repeat(8, 1)
  np.testing.assert_array_equal(
    tiles.cut(large, 8), tiles.cut(x).repeat(8, 1).repeat(8, 2)
  )
  np.testing.assert_allclose(
    tiles.blend(tiles.cut(large, 8), 8), large, atol=1e-5
  )


def test_neighbours_overlap_as_asked():
  tiles = Tiles((60, 104), (32, 32), 8)
  corners = tiles._corners(1)
  rows = sorted({top for top, _ in corners})
  columns = sorted({left for _, left in corners})
  for starts, size in ((rows, 60), (columns, 104)):
    assert starts[0] == 0 and starts[-1] == size - 32
    assert (np.diff(starts) <= 24).all()
