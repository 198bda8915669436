import numpy as np

from cinejax.film import sheet
from cinejax.film.screenplay import Film, Segment
from cinejax.film.timeline import Timeline

FILM = Film(
  (
    Segment('a fox waits', chunks=1),
    Segment('it runs', chunks=1, cut=False),
    Segment('a hare ' * 60, chunks=2),
  )
)
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


def _flat(rows):
  """A film whose frames have their row's own flat colour."""
  return np.concatenate(
    [
      np.broadcast_to(COLOURS[index], (row.stop - row.start, 16, 16, 3))
      for index, row in enumerate(rows)
    ]
  )


def test_rows_are_the_segments():
  rows = sheet.film_rows(FILM, Timeline(3, 4, 16))
  assert [row[:4] for row in rows] == [
    (0, 9, 0, False),
    (9, 21, 0, False),
    (21, 45, 1, True),
  ]
  assert rows[1].caption == 'it runs'


def test_every_row_shows_its_own_frames_and_only_those():
  rows = sheet.film_rows(FILM, Timeline(3, 4, 16))
  page = np.asarray(sheet.contact_sheet(_flat(rows), rows, 16, 'Test', 4))
  for index, colour in enumerate(COLOURS):
    ys, _ = np.nonzero((page == colour).all(-1))
    assert len(ys) == 4 * 128 * 128
    assert ys.max() - ys.min() == 127
    others = np.nonzero((page[ys.min()] == COLOURS[index - 1]).all(-1))[0]
    assert not len(others)


def test_a_cut_is_marked_otherwise_than_a_continued_shot():
  rows = sheet.film_rows(FILM, Timeline(3, 4, 16))
  page = np.asarray(sheet.contact_sheet(_flat(rows), rows, 16))
  mark = np.array([0xF2, 0xA6, 0x5A])
  lines = (page == mark).all(-1).mean(1) > 0.9
  assert lines.sum() == 1
  below = np.nonzero(lines)[0][0]
  ys, _ = np.nonzero((page == COLOURS[2]).all(-1))
  assert 0 < ys.min() - below < 34


def test_a_short_row_shows_no_frame_twice():
  assert sheet._spread(sheet.Row(5, 8, 0, True, ''), 6) == [5, 6, 7]
  assert sheet._spread(sheet.Row(0, 11, 0, True, ''), 3) == [0, 5, 10]
