"""Pages that show one film under several names, such as memory policies.

`SideBySide` draws the frames of a video: the pictures next to each other, the
name under each of them, and the prompt of the shot above them. Pixels are
enlarged by a whole factor only, so that every picture stays exact.
`comparison_sheet` draws one page: a row for each name, a column for each shot.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cinejax.film import drawing
from cinejax.film.media import watchable_scale
from cinejax.film.sheet import Row

_GAP = 8  # pixels between pictures
_PROMPT_LINES = 2
_MARGIN, _NAME_WIDTH, _CELL_GAP, _LINE = 28, 110, 6, 17  # pixels, of the sheet
_HEADING_LINES = 4  # of a prompt above a column
_COLUMNS = 8  # shots beside each other
MAX_SHOTS = 64  # on one sheet


class SideBySide:
  """Draws the frames of a video of several films."""

  def __init__(self, names: Sequence[str], height: int, width: int):
    """A page for films of height x width pixels, one for each of `names`."""
    self._names, count = tuple(names), len(names)
    self._scale = watchable_scale(height)
    self._size = (width * self._scale, height * self._scale)
    # Wide pictures are easier to watch in two rows of two.
    self._columns = 2 if count == 4 and width > height else count
    self._font_size = min(28, max(14, self._size[1] // 15))
    self._line = round(1.4 * self._font_size)
    self._top = (1 + _PROMPT_LINES) * self._line + _GAP
    self._shot: tuple[int, str] | None = None
    self._page_YXC = np.zeros(0)

  def place(self, number: int) -> tuple[slice, slice]:
    """The rows and columns of a page that picture `number` fills."""
    row, column = divmod(number, self._columns)
    y = self._top + row * self._row_height
    x = _GAP + column * (self._size[0] + _GAP)
    return slice(y, y + self._size[1]), slice(x, x + self._size[0])

  def draw(
    self, images: Sequence[np.ndarray], shot: int, prompt: str
  ) -> np.ndarray:
    """A page, uint8 [Y, X, 3] with even Y and X, as videos need them.

    Args:
      images: uint8 [height, width, 3], one for each name.
      shot: from 0.
      prompt: of the shot, above the pictures.
    """
    if self._shot != (shot, prompt):
      self._shot, self._page_YXC = (shot, prompt), self._empty(shot, prompt)
    page_YXC = self._page_YXC.copy()
    for number, image_YXC in enumerate(images):
      enlarged_YXC = image_YXC.repeat(self._scale, 0).repeat(self._scale, 1)
      page_YXC[self.place(number)] = enlarged_YXC
    return page_YXC

  @property
  def _row_height(self) -> int:
    return self._size[1] + self._line + 2 * _GAP

  def _empty(self, shot: int, prompt: str) -> np.ndarray:
    """The page with its texts and without its pictures."""
    rows = -(-len(self._names) // self._columns)
    height = self._top + rows * self._row_height
    width = _GAP + self._columns * (self._size[0] + _GAP)
    size = (width + width % 2, height + height % 2)
    page = Image.new('RGB', size, drawing.BACKGROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(self._font_size)
    draw.text((_GAP, _GAP // 2), f'Shot {shot}', drawing.ACCENT, font)
    lines = drawing.wrap(prompt, font, width - 2 * _GAP, _PROMPT_LINES)
    for number, line in enumerate(lines, 1):
      draw.text(
        (_GAP, _GAP // 2 + number * self._line), line, drawing.FOREGROUND, font
      )
    for number, name in enumerate(self._names):
      rows_Y, columns_X = self.place(number)
      middle = (columns_X.start + columns_X.stop) // 2
      at = (middle, rows_Y.stop + _GAP // 2)
      draw.text(at, name, drawing.FOREGROUND, font, anchor='ma')
    return np.asarray(page)


class Cell(NamedTuple):
  """A shot under one name."""

  image_YXC: np.ndarray  # uint8, a frame of the shot
  note: str = ''  # one line below the frame


def comparison_sheet(
  cells: Mapping[str, Sequence[Cell]],
  shots: Sequence[Row],
  fps: float,
  title: str = '',
) -> Image.Image:
  """One page that compares films shot by shot, as an RGB image.

  Args:
    cells: by name, the shots of that film, all of the same size.
    shots: of each column; `caption` is its prompt.
    fps: pixel frames per second.
    title: above the columns; '': "Untitled".
  """
  shown = shots[:MAX_SHOTS]
  first_cell = next(iter(cells.values()))[0]
  size = drawing.thumbnail_size(*first_cell.image_YXC.shape[:2])
  cell_width, cell_height = size[0] + _CELL_GAP, size[1] + _LINE + 2 * _CELL_GAP
  heading = (1 + _HEADING_LINES) * _LINE + _CELL_GAP
  block_height = heading + len(cells) * cell_height + _MARGIN // 2
  blocks = [shown[i : i + _COLUMNS] for i in range(0, len(shown), _COLUMNS)]
  top = _MARGIN + 56
  width = 2 * _MARGIN + _NAME_WIDTH + len(blocks[0]) * cell_width
  page = Image.new(
    'RGB', (width, top + len(blocks) * block_height), drawing.BACKGROUND
  )
  draw, small = ImageDraw.Draw(page), ImageFont.load_default(12)
  _draw_title(draw, title or 'Untitled', _summary(cells, shots, fps))
  for number, block in enumerate(blocks):
    y = top + number * block_height
    for column, shot in enumerate(block):
      x = _MARGIN + _NAME_WIDTH + column * cell_width
      _draw_heading(draw, shot, fps, (x, y), size[0])
      for row, film in enumerate(cells.values()):
        cell = film[number * _COLUMNS + column]
        at = (x, y + heading + row * cell_height)
        page.paste(drawing.thumbnail(cell.image_YXC, size), at)
        (note,) = drawing.wrap(cell.note, small, size[0], 1)
        below = (x, at[1] + size[1] + _CELL_GAP // 2)
        draw.text(below, note, drawing.DIM, small)
    for row, name in enumerate(cells):
      at = (_MARGIN, y + heading + row * cell_height + size[1] // 2)
      font = ImageFont.load_default(18)
      draw.text(at, name, drawing.FOREGROUND, font, anchor='lm')
  return page


def shot_rows(rows: Iterable[Row]) -> tuple[Row, ...]:
  """One row for each shot; its caption is the prompt of its first segment."""
  shots: list[Row] = []
  for row in rows:
    if shots and shots[-1].shot == row.shot:
      shots[-1] = shots[-1]._replace(stop=row.stop)
    else:
      shots.append(row)
  return tuple(shots)


def _summary(
  cells: Mapping[str, Sequence[Cell]], shots: Sequence[Row], fps: float
) -> str:
  text = (
    f'{len(shots)} shots · {shots[-1].stop / fps:.1f} s · the same screenplay '
    f'and seed under {", ".join(cells)}'
  )
  if len(shots) > MAX_SHOTS:
    text += f' · the first {MAX_SHOTS} shots are shown'
  return text


def _draw_title(draw: ImageDraw.ImageDraw, title: str, summary: str) -> None:
  at, font = (_MARGIN, _MARGIN - 6), ImageFont.load_default(26)
  draw.text(at, title, drawing.FOREGROUND, font)
  small = ImageFont.load_default(14)
  draw.text((_MARGIN, _MARGIN + 28), summary, drawing.DIM, small)


def _draw_heading(
  draw: ImageDraw.ImageDraw,
  shot: Row,
  fps: float,
  at: tuple[int, int],
  width: int,
) -> None:
  """The number, the times and the prompt of a column."""
  x, y = at
  head, small = ImageFont.load_default(14), ImageFont.load_default(13)
  draw.text((x, y), f'Shot {shot.shot}', drawing.ACCENT, head)
  times = f'{shot.start / fps:.1f}-{shot.stop / fps:.1f} s'
  draw.text((x + width, y + 2), times, drawing.DIM, small, anchor='ra')
  lines = drawing.wrap(shot.caption, small, width, _HEADING_LINES)
  for number, line in enumerate(lines, 1):
    draw.text((x, y + number * _LINE), line, drawing.FOREGROUND, small)
