"""One real clip: looked through, cut into films, encoded and written."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilm
from cinejax.film.screenplay import Film, Segment, chunk_prompts
from cinejax.film.timeline import Timeline
from data_prep import films, shots
from data_prep.captions import Captions, caption
from data_prep.encode import Encode

Entry = dict[str, Any]  # what the report says of a clip


@dataclasses.dataclass(frozen=True)
class Preparation:
  """How clips become films."""

  cfg: Config
  encode: Encode
  out: pathlib.Path
  rows: tuple[int, int] | None = None  # to keep; None = all but black bars
  shot_chunks: int = 0
  captions: Captions = dataclasses.field(default_factory=dict)
  caption_command: Sequence[str] = ()

  @property
  def timeline(self) -> Timeline:
    film, codec = self.cfg.film, self.cfg.codec
    return Timeline(film.frames_per_chunk, codec.temporal_stride, film.fps)

  def prepare(self, clip: pathlib.Path, name: str) -> Entry:
    """Writes the films of one clip; UserError if there are none in it."""
    found = _survey(clip)
    box = self._box(clip, found)
    chunks = self.cfg.data.chunks
    plan = shots.plan_films(found, self.timeline, chunks, self.shot_chunks)
    if not plan.films:
      raise UserError(
        f'{clip}: no shot of its {found.frames} frames fills a chunk of '
        f'{self.timeline.chunk_secs:g} seconds'
      )
    takes = [take for film in plan.films for take in film]
    said, problems = caption(
      clip, name, takes, self.captions, self.caption_command
    )

    def make(_: int) -> Iterator[LatentFilm]:
      return self._films(clip, name, plan, box, said)

    films.write_films(
      self.out, part_name(name), self.cfg.frame_shape, make, [0]
    )
    return {
      'frames': found.frames,
      'cuts': list(found.cuts),
      'crop': list(box),
      'films': len(plan.films),
      'chunks': sum(take.chunks for take in takes),
      'shots': [_told(take, said[take.shot]) for take in takes],
      'dropped_shots': list(plan.dropped),
      'problems': problems,
    }

  def _films(self, clip, name, plan, box, said) -> Iterator[LatentFilm]:
    size = self.cfg.film.height, self.cfg.film.width
    pixels = self.timeline.pixel_frames(self.cfg.data.chunks)
    videos = shots.read_films(clip, plan, box, size)
    for number, (takes, video) in enumerate(
      zip(plan.films, videos, strict=True)
    ):
      asked = chunk_prompts(
        Film(
          tuple(Segment(said[take.shot], chunks=take.chunks) for take in takes)
        ),
        self.cfg.film.cut_prefix,
        self.timeline.chunk_secs,
      )
      latents = self.encode([video], pixels)[0]
      # Clips are made in any order: their names keep film numbers apart.
      unique = int(_digest(name), 16) * 2**16 + number
      yield films.latent_film(unique, latents, asked)

  def _box(self, clip: pathlib.Path, found: shots.Survey) -> shots.Box:
    picture = found.picture
    if self.rows:
      picture = (*self.rows, *picture[2:])
    if picture[1] > found.height:
      raise UserError(
        f'{clip}: has {found.height} rows, fewer than --crop={picture[1]}'
      )
    box = shots.fill(picture, self.cfg.film.height, self.cfg.film.width)
    rows, columns = box[1] - box[0], box[3] - box[2]
    if 2 * rows < self.cfg.film.height or 2 * columns < self.cfg.film.width:
      raise UserError(
        f'{clip}: its picture of {columns}x{rows} pixels is less than half of '
        f'{self.cfg.film.width}x{self.cfg.film.height}'
      )
    return box


def part_name(name: str) -> str:
  """A folder's name for the clip called `name`, unlike any other's."""
  slug = re.sub(r'[^A-Za-z0-9]+', '-', pathlib.Path(name).stem)[:40]
  return f'{slug}-{_digest(name)}'


def _survey(clip: pathlib.Path) -> shots.Survey:
  try:
    return shots.survey(clip)
  except UserError:
    raise
  except Exception as error:
    # Damage shows in many ways, such as a picture that changes its size.
    raise UserError(f'{clip}: cannot be read through ({error!r})') from error


def _told(take: shots.Take, caption: str) -> Entry:
  return {
    'shot': take.shot,
    'start': take.start,
    'stop': take.stop,
    'frames_kept': len(take.frames),
    'chunks': take.chunks,
    'caption': caption,
  }


def _digest(name: str) -> str:
  return hashlib.sha256(name.encode()).hexdigest()[:8]
