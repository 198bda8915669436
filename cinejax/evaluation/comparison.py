"""Directs one screenplay under several memory policies, in step.

The films have the same weights, screenplay and seed, and differ in nothing but
the policy. A chunk of each is generated in turn, so that the film of any length
takes the memory of a few chunks, and the state of every policy. Each film
equals, bit for bit, the one that is directed under its policy alone.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from cinejax.core.errors import UserError
from cinejax.core.speed import SpeedMeter
from cinejax.directing import opening
from cinejax.directing.cast import GivenPicture
from cinejax.directing.director import Director
from cinejax.directing.memory_reads import ChunkReads, MemoryRecorder
from cinejax.directing.progress import ChunkProgress
from cinejax.evaluation.measurement import FilmMeasurement
from cinejax.film import drawing, media, sheet, side_by_side
from cinejax.film.journal import ChunkPrompt, Film, Settings
from cinejax.film.screenplay import chunk_prompts
from cinejax.memory.config import POLICIES

_FEWEST, _MOST = 2, 4  # policies
_NOTED_SHOTS = 3  # past shots that the note of a shot lists


def parse_policies(text: str) -> tuple[str, ...]:
  """The policies of `--compare`, which separates them with commas.

  Raises UserError for unknown or repeated policies, or another number of them
  than two to four.
  """
  names = tuple(name.strip() for name in text.split(','))
  for name in names:
    if name not in POLICIES:
      raise UserError(
        f'--compare={text}: there is no memory policy {name!r}; take '
        f'{_FEWEST} to {_MOST} of {", ".join(POLICIES)}'
      )
  if len(set(names)) != len(names) or not _FEWEST <= len(names) <= _MOST:
    raise UserError(
      f'--compare={text} names {len(set(names))} different policies; give '
      f'{_FEWEST} to {_MOST}, each of them once'
    )
  return names


def check(film: Film) -> None:
  """Raises UserError if the film itself chooses a memory policy."""
  for index, segment in enumerate(film.segments):
    if segment.policy:
      raise UserError(
        f'{film.location(index)}.policy is {segment.policy}, and --compare '
        'chooses the policies; remove it'
      )


def compare(
  director: Director,
  policies: Sequence[str],
  film: Film,
  folder: pathlib.Path,
  seed: int,
  given_BFYXC: jax.Array | None = None,
  cast: Sequence[GivenPicture] = (),
) -> dict[str, object]:
  """Directs a film under each policy; writes one MP4 and one contact sheet.

  Args:
    director: generates the films.
    policies: from `parse_policies`.
    film: the screenplay, which `check` accepts.
    folder: to write film.mp4 and contact_sheet.png to.
    seed: of the noise.
    given_BFYXC: the latents with which the films begin.
    cast: pictures that the memory of the films begins with.

  Returns:
    The figures of the report, with those of each policy under `policies`.

  Raises:
    UserError: if the model cannot follow a policy.
  """
  given = opening.given_chunks(director, given_BFYXC)
  film = opening.with_given_chunks(film, given)
  timeline, cfg = director.timeline, director.cfg
  prompts = chunk_prompts(film, cfg.film.cut_prefix, timeline.chunk_secs)
  rows = sheet.film_rows(film, timeline)
  shots = side_by_side.shot_rows(rows)
  speed, names = SpeedMeter(), [one.name for one in film.cast]
  with contextlib.ExitStack() as stack:
    films = {
      policy: PolicyFilm(
        director.variant(Settings(policy=policy)),
        shots,
        stack.enter_context(FilmMeasurement()),
        MemoryRecorder(
          cfg.film.frames_per_chunk, cfg.memory.window_frames, given
        ),
      )
      for policy in policies
    }
    captions = [segment.prompt for segment in film.segments]
    page = side_by_side.SideBySide(policies, cfg.film.height, cfg.film.width)
    chunks = zip(
      *(one.roll(prompts, seed, given_BFYXC, cast) for one in films.values()),
      strict=True,
    )
    frames = _frames(chunks, prompts, captions, page, speed, given)
    media.write_video(folder / 'film.mp4', frames, cfg.film.fps)
    cells = {policy: one.cells(prompts) for policy, one in films.items()}
    image = side_by_side.comparison_sheet(
      cells, shots, cfg.film.fps, film.title
    )
    media.save_image(folder / 'contact_sheet.png', image)
    return {
      'shots': len(shots),
      'frames': rows[-1].stop,
      'fps': cfg.film.fps,
      'pixel_fps': speed.pixel_fps,
      'first_chunk_secs': speed.first_chunk_secs,
      'policies': {
        policy: one.measurement.figures(rows)
        | {'memory': [r.to_json(prompts, timeline, names) for r in one.reads]}
        for policy, one in films.items()
      },
    }


@dataclasses.dataclass
class PolicyFilm:
  """The film of one policy, measured while it is generated."""

  director: Director  # under the policy
  shots: Sequence[sheet.Row]
  measurement: FilmMeasurement
  recorder: MemoryRecorder
  _images: list[np.ndarray] = dataclasses.field(default_factory=list)

  @property
  def reads(self) -> tuple[ChunkReads, ...]:
    """What the memory read for each chunk so far."""
    return self.recorder.reads

  def roll(
    self,
    prompts: Sequence[ChunkPrompt],
    seed: int,
    given_BFYXC: jax.Array | None,
    cast: Sequence[GivenPicture],
  ) -> Iterator[np.ndarray]:
    """Yields uint8 [T, Y, X, 3] of one chunk after another."""
    batches = ([prompt] for prompt in prompts)  # of one film
    rolled = self.director.roll(
      batches, [seed], given_BFYXC, self.recorder, cast
    )
    for video_BTYXC in rolled:
      for frame_YXC in video_BTYXC[0]:
        self._add_frame(frame_YXC)
      yield video_BTYXC[0]

  def cells(
    self, prompts: Sequence[ChunkPrompt]
  ) -> tuple[side_by_side.Cell, ...]:
    """The middle frame of each shot, and which past shots were read for it."""
    return tuple(
      side_by_side.Cell(image_YXC, self._note(shot.shot, prompts))
      for image_YXC, shot in zip(self._images, self.shots, strict=False)
    )

  def _add_frame(self, frame_YXC: np.ndarray) -> None:
    number, shot = self.measurement.frames, len(self._images)
    self.measurement.add_frame(frame_YXC)
    if shot < min(len(self.shots), side_by_side.MAX_SHOTS):
      row = self.shots[shot]
      if number == (row.start + row.stop) // 2:
        size = drawing.thumbnail_size(*frame_YXC.shape[:2])
        self._images.append(np.asarray(drawing.thumbnail(frame_YXC, size)))

  def _note(self, shot: int, prompts: Sequence[ChunkPrompt]) -> str:
    shares: dict[int, float] = {}
    pictures = False
    for reads in self.reads:
      if prompts[reads.chunk].shot == shot:
        for one in reads.frames:
          if one.frame < 0:
            pictures = True
            continue
          chunk = self.director.timeline.chunk_of_latent(one.frame)
          past = prompts[chunk].shot
          shares[past] = shares.get(past, 0) + one.share
    if not shares:
      return 'read pictures only' if pictures else 'read the window only'
    most = sorted(shares, key=lambda past: -shares[past])[:_NOTED_SHOTS]
    plural = 's' if len(most) > 1 else ''
    shots = f'read shot{plural} {", ".join(map(str, sorted(most)))}'
    return f'{shots} and pictures' if pictures else shots


def _frames(
  chunks: Iterator[Sequence[np.ndarray]],
  prompts: Sequence[ChunkPrompt],
  captions: Sequence[str],
  page: side_by_side.SideBySide,
  speed: SpeedMeter,
  given: int,
) -> Iterator[np.ndarray]:
  """Yields the pages of the video.

  Args:
    chunks: uint8 [T, Y, X, 3] of each policy, for one chunk after another.
    prompts: of the chunks.
    captions: of the segments.
    page: draws the frames.
    speed: measures the chunks that are generated.
    given: how many chunks are given before them.
  """
  with ChunkProgress(len(prompts)) as progress:
    for number, videos in enumerate(chunks):
      if number >= given:
        speed.mark(sum(map(len, videos)))
      progress.advance(speed.pixel_fps)
      prompt = prompts[number]
      for images in zip(*videos, strict=True):
        yield page.draw(images, prompt.shot, captions[prompt.segment])
