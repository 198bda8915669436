import numpy as np
import pytest

from cinejax.film import side_by_side
from cinejax.film.sheet import Row
from cinejax.film.side_by_side import Cell, SideBySide

ROWS = (
  Row(0, 9, 0, False, 'a fox waits'),
  Row(9, 21, 0, False, 'it runs'),
  Row(21, 45, 1, True, 'a hare'),
)
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


@pytest.mark.parametrize(
  ('count', 'height', 'width', 'scale', 'in_a_row'),
  [
    (2, 16, 16, 16, 2),
    (4, 64, 64, 4, 4),
    (4, 100, 150, 3, 2),
    (3, 300, 9, 1, 3),
  ],
)
def test_pictures_are_enlarged_exactly(count, height, width, scale, in_a_row):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, height, width, 3), np.uint8)
  page = SideBySide([f'policy {n}' for n in range(count)], height, width)
  page_YXC = page.draw(images, 1, 'a fox waits ' * 40)
  assert page_YXC.shape[0] % 2 == page_YXC.shape[1] % 2 == 0
  for number, image_YXC in enumerate(images):
    shown_YXC = page_YXC[page.place(number)]
    assert shown_YXC.shape == (scale * height, scale * width, 3)
    for dy, dx in ((0, 0), (scale - 1, scale - 1)):
      np.testing.assert_array_equal(shown_YXC[dy::scale, dx::scale], image_YXC)
  tops = {page.place(number)[0].start for number in range(count)}
  assert len(tops) == -(-count // in_a_row)


def test_the_texts_change_with_the_shot_and_nothing_else_does():
  page = SideBySide(('camr', 'window'), 64, 64)
  images = np.zeros((2, 64, 64, 3), np.uint8)
  first, again = page.draw(images, 0, 'a fox'), page.draw(images, 0, 'a fox')
  np.testing.assert_array_equal(first, again)
  other = page.draw(images, 1, 'a hare')
  changed = np.nonzero((first != other).any((1, 2)))[0]
  assert len(changed) and changed.max() < page.place(0)[0].start


def test_a_shot_is_all_its_segments():
  shots = side_by_side.shot_rows(ROWS)
  assert [shot[:3] for shot in shots] == [(0, 21, 0), (21, 45, 1)]
  assert [shot.caption for shot in shots] == ['a fox waits', 'a hare']


@pytest.mark.parametrize('shots', [2, 11, 70])
def test_a_sheet_has_a_row_a_name_and_a_column_a_shot(shots):
  rows = [Row(9 * n, 9 * n + 9, n, n > 0, 'a hare ' * 30) for n in range(shots)]
  cells = {
    name: [Cell(np.full((16, 16, 3), colour, np.uint8), 'read shot 0')] * shots
    for name, colour in zip(('camr', 'sink', 'window'), COLOURS, strict=True)
  }
  page = np.asarray(side_by_side.comparison_sheet(cells, rows, 8, 'Test'))
  tops = []
  for colour in COLOURS:
    ys, _ = np.nonzero((page == colour).all(-1))
    assert len(ys) == min(shots, 64) * 128 * 128
    tops.append(ys.min())
  assert tops == sorted(set(tops))
