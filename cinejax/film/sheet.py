"""Contact sheets: a row of frames for each segment, with its prompt.

A solid line with a dot marks a cut above a row, a dashed line a continued shot.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cinejax.film import drawing
from cinejax.film.screenplay import Film, chunk_prompts
from cinejax.film.timeline import Timeline

_CONTINUE = '#4a5160'
_MARGIN, _GAP, _TEXT_WIDTH = 28, 6, 264
_ROW_SPACE = 34  # pixels between rows, the mark in its middle
_LINE = 19  # pixels from one line of a caption to the next


class Row(NamedTuple):
  """The frames [start, stop) of one segment."""

  start: int  # pixel frame
  stop: int
  shot: int  # from 0
  cut: bool  # False: the shot of the row above continues
  caption: str


def film_rows(film: Film, timeline: Timeline) -> tuple[Row, ...]:
  """One row for each segment of `film`."""
  chunks = chunk_prompts(film, '', timeline.chunk_secs)
  rows = []
  for index, segment in enumerate(film.segments):
    own = [n for n, chunk in enumerate(chunks) if chunk.segment == index]
    start = timeline.chunk_start_pixel(own[0])
    stop = timeline.chunk_start_pixel(own[-1] + 1)
    first = chunks[own[0]]
    rows.append(Row(start, stop, first.shot, first.cut, segment.prompt))
  return tuple(rows)


def shortened(rows: Sequence[Row], most: int) -> Sequence[Row]:
  """The rows; of more than `most` rows, as many of the first and last ones."""
  if len(rows) <= most:
    return rows
  return (*rows[: most - most // 2], *rows[-(most // 2) :])


class ContactSheet:
  """Draws a sheet while the frames of its film arrive; keeps the last one only.

  Args:
    rows: the segments to show, in order.
    fps: pixel frames per second.
    title: above the rows; '': "Untitled".
    columns: evenly spaced frames in each row.
  """

  def __init__(
    self, rows: Sequence[Row], fps: float, title: str = '', columns: int = 6
  ):
    self._rows, self._fps, self._columns = rows, fps, columns
    self._title = title or 'Untitled'
    self._cells: dict[int, list[tuple[int, int]]] = {}  # (row, column)
    for index, row in enumerate(rows):
      for column, frame in enumerate(_spread(row, columns)):
        self._cells.setdefault(frame, []).append((index, column))
    self._frames = 0
    self._last_YXC: np.ndarray | None = None
    self._page: Image.Image | None = None

  def add_frame(self, frame_YXC: np.ndarray) -> None:
    """Processes the next frame of the film, uint8 RGB."""
    if self._page is None:
      self._start_page(*frame_YXC.shape[:2])
    self._paste(frame_YXC, self._cells.pop(self._frames, []))
    self._last_YXC = frame_YXC
    self._frames += 1

  def image(self) -> Image.Image:
    """The sheet as an RGB image.

    If the film is shorter than its rows, its last frame stands for the missing
    ones. Raises ValueError if the film has no frame.
    """
    if self._page is None:
      raise ValueError('a film without frames has no contact sheet')
    for cells in self._cells.values():
      self._paste(self._last_YXC, cells)
    self._cells.clear()
    return self._page

  def _start_page(self, height: int, width: int) -> None:
    """Makes the page, with everything but the frames."""
    size = self._size = drawing.thumbnail_size(height, width)
    self._row_height = max(size[1], 5 * _LINE)
    page_size = (
      2 * _MARGIN + _TEXT_WIDTH + self._columns * (size[0] + _GAP),
      self._top(len(self._rows)),
    )
    self._page = Image.new('RGB', page_size, drawing.BACKGROUND)
    draw = ImageDraw.Draw(self._page)
    _draw_title(draw, self._title, _summary(self._rows, self._fps))
    for index, row in enumerate(self._rows):
      top = self._top(index)
      if row.start:
        _draw_mark(draw, row.cut, top - _ROW_SPACE // 2, page_size[0])
      _draw_caption(draw, row, self._fps, top, self._row_height)

  def _top(self, index: int) -> int:
    return _MARGIN + 62 + index * (self._row_height + _ROW_SPACE)

  def _paste(
    self, frame_YXC: np.ndarray, cells: Sequence[tuple[int, int]]
  ) -> None:
    for index, column in cells:
      x = _MARGIN + _TEXT_WIDTH + column * (self._size[0] + _GAP) + _GAP
      thumbnail = drawing.thumbnail(frame_YXC, self._size)
      self._page.paste(thumbnail, (x, self._top(index)))


def contact_sheet(
  frames: Iterable[np.ndarray],
  rows: Sequence[Row],
  fps: float,
  title: str = '',
  columns: int = 6,
) -> Image.Image:
  """The sheet of a film as an RGB image.

  Args:
    frames: uint8 RGB [Y, X, 3] each; all frames of the film, as an array
      video_TYXC or as an iterator.
    rows: see ContactSheet, as are the next three.
    fps: pixel frames per second.
    title: above the rows.
    columns: evenly spaced frames in each row.
  """
  page = ContactSheet(rows, fps, title, columns)
  for frame_YXC in frames:
    page.add_frame(frame_YXC)
  return page.image()


def _summary(rows: Sequence[Row], fps: float) -> str:
  shots = rows[-1].shot + 1
  plural = 's' if shots > 1 else ''
  return f'{shots} shot{plural} · {rows[-1].stop / fps:.1f} s'


def _spread(row: Row, columns: int) -> list[int]:
  """Evenly spaced frames, among them the first and the last, none twice."""
  count = min(columns, row.stop - row.start)
  return (
    np.linspace(row.start, row.stop - 1, count).round().astype(int).tolist()
  )


def _draw_title(draw: ImageDraw.ImageDraw, title: str, summary: str) -> None:
  font = ImageFont.load_default(26)
  draw.text((_MARGIN, _MARGIN - 6), title, drawing.FOREGROUND, font)
  small = ImageFont.load_default(14)
  draw.text((_MARGIN, _MARGIN + 28), summary, drawing.DIM, small)


def _draw_mark(
  draw: ImageDraw.ImageDraw, cut: bool, y: int, width: int
) -> None:
  if cut:
    draw.line((_MARGIN, y, width - _MARGIN, y), drawing.ACCENT, 1)
    draw.ellipse((_MARGIN - 4, y - 4, _MARGIN + 4, y + 4), drawing.ACCENT)
    return
  for x in range(_MARGIN, width - _MARGIN, 10):
    draw.line((x, y, x + 4, y), _CONTINUE, 1)


def _draw_caption(
  draw: ImageDraw.ImageDraw, row: Row, fps: float, top: int, height: int
) -> None:
  opens = row.cut or row.start == 0
  head = f'Shot {row.shot}' if opens else f'Shot {row.shot}, continued'
  times = f'{row.start / fps:.1f}-{row.stop / fps:.1f} s'
  heading = ImageFont.load_default(15)
  draw.text(
    (_MARGIN, top - 3), head, drawing.ACCENT if opens else drawing.DIM, heading
  )
  small = ImageFont.load_default(12)
  right = _MARGIN + _TEXT_WIDTH - 14
  draw.text((right, top), times, drawing.DIM, small, anchor='ra')
  font = ImageFont.load_default(14)
  lines = drawing.wrap(row.caption, font, _TEXT_WIDTH - 14, height // _LINE - 1)
  for number, line in enumerate(lines):
    draw.text(
      (_MARGIN, top + 22 + number * _LINE), line, drawing.FOREGROUND, font
    )
