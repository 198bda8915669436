"""Turns a real clip into films: surveys, cuts, encodes and writes it."""

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

Entry = dict[str, Any]  # a clip in the report


@dataclasses.dataclass(frozen=True)
class Preparation:
  """Settings with which clips become films."""

  cfg: Config
  encode: Encode
  out: pathlib.Path
  # pixel rows [top, bottom) to keep; None = all but black bars
  rows: tuple[int, int] | None = None
  shot_chunks: int = 0  # at most kept of a shot; 0 = all
  captions: Captions = dataclasses.field(default_factory=dict)
  caption_command: Sequence[str] = ()

  @property
  def timeline(self) -> Timeline:
    film, codec = self.cfg.film, self.cfg.codec
    return Timeline(film.frames_per_chunk, codec.temporal_stride, film.fps)

  def prepare(self, clip: pathlib.Path, name: str) -> Entry:
    """Writes the films of one clip; returns its entry in the report.

    Raises UserError if no shot of it is long enough, or if its picture is too
    small.
    """
    found = _survey(clip)
    box = self._box(clip, found)
    chunks = self.cfg.data.chunks
    plan = shots.plan_films(found, self.timeline, chunks, self.shot_chunks)
    if not plan.films:
      raise UserError(
        f'{clip}: no shot of its {found.frames} frames fills a chunk of '
        f'{self.timeline.chunk_secs:g} seconds'
      )
    excerpts = [excerpt for film in plan.films for excerpt in film]
    texts, problems = caption(
      clip, name, excerpts, self.captions, self.caption_command
    )

    def make_part(_: int) -> Iterator[LatentFilm]:
      return self._films(clip, name, plan, box, texts)

    films.write_films(
      self.out, part_name(name), self.cfg.frame_shape, make_part, [0]
    )
    return {
      'frames': found.frames,
      'cuts': list(found.cuts),
      'crop': list(box),
      'films': len(plan.films),
      'chunks': sum(excerpt.chunks for excerpt in excerpts),
      'shots': [
        _shot_entry(excerpt, texts[excerpt.shot]) for excerpt in excerpts
      ],
      'dropped_shots': list(plan.dropped),
      'problems': problems,
    }

  def _films(self, clip, name, plan, box, texts) -> Iterator[LatentFilm]:
    size = self.cfg.film.height, self.cfg.film.width
    pixels = self.timeline.pixel_frames(self.cfg.data.chunks)
    videos = shots.read_films(clip, plan, box, size)
    for number, (excerpts, video) in enumerate(
      zip(plan.films, videos, strict=True)
    ):
      prompts = chunk_prompts(
        Film(
          tuple(
            Segment(texts[excerpt.shot], chunks=excerpt.chunks)
            for excerpt in excerpts
          )
        ),
        self.cfg.film.cut_prefix,
        self.timeline.chunk_secs,
      )
      latents = self.encode([video], pixels)[0]
      # Clips are prepared in any order; film numbers must differ nevertheless.
      unique = int(_digest(name), 16) * 2**16 + number
      yield films.latent_film(unique, latents, prompts)

  def _box(self, clip: pathlib.Path, found: shots.Survey) -> shots.Box:
    picture = found.picture
    if self.rows:
      picture = (*self.rows, *picture[2:])
    if picture[1] > found.height:
      raise UserError(
        f'{clip}: it has {found.height} rows, fewer than --crop={picture[1]}'
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
  """The name of the part that holds the films of the clip called `name`.

  It is valid as a folder's name and differs from that of any other clip.
  """
  slug = re.sub(r'[^A-Za-z0-9]+', '-', pathlib.Path(name).stem)[:40]
  return f'{slug}-{_digest(name)}'


def _survey(clip: pathlib.Path) -> shots.Survey:
  try:
    return shots.survey(clip)
  except UserError:
    raise
  except Exception as error:
    # Damaged files raise many kinds of errors.
    raise UserError(f'{clip}: it cannot be read ({error!r})') from error


def _shot_entry(excerpt: shots.ShotExcerpt, caption: str) -> Entry:
  return {
    'shot': excerpt.shot,
    'start': excerpt.start,
    'stop': excerpt.stop,
    'frames_kept': len(excerpt.frames),
    'chunks': excerpt.chunks,
    'caption': caption,
  }


def _digest(name: str) -> str:
  return hashlib.sha256(name.encode()).hexdigest()[:8]
