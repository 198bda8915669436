"""Contact sheets: a row of frames for each segment, with its prompt.

A solid line with a dot marks a cut above a row, a dashed line a continued shot.
"""

from collections.abc import Sequence
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


def contact_sheet(
  video_TYXC: np.ndarray,
  rows: Sequence[Row],
  fps: float,
  title: str = '',
  columns: int = 6,
) -> Image.Image:
  """The sheet as an RGB image.

  Args:
    video_TYXC: uint8, all frames of the film.
    rows: the segments of the film.
    fps: pixel frames per second.
    title: above the rows; '': "Untitled".
    columns: evenly spaced frames in each row.
  """
  size = drawing.thumbnail_size(*video_TYXC.shape[1:3])
  row_height = max(size[1], 5 * _LINE)
  top = _MARGIN + 62
  width = 2 * _MARGIN + _TEXT_WIDTH + columns * (size[0] + _GAP)
  height = top + len(rows) * (row_height + _ROW_SPACE)
  page = Image.new('RGB', (width, height), drawing.BACKGROUND)
  draw = ImageDraw.Draw(page)
  _draw_title(draw, title or 'Untitled', _summary(rows, fps))
  for row in rows:
    if row.start:
      _draw_mark(draw, row.cut, top - _ROW_SPACE // 2, width)
    _draw_caption(draw, row, fps, top, row_height)
    for column, frame in enumerate(_spread(row, columns)):
      thumbnail = drawing.thumbnail(
        video_TYXC[min(frame, len(video_TYXC) - 1)], size
      )
      x = _MARGIN + _TEXT_WIDTH + column * (size[0] + _GAP) + _GAP
      page.paste(thumbnail, (x, top))
    top += row_height + _ROW_SPACE
  return page


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
