"""Measures what a base remembers on held-out films while it trains.

All chunks of a film are generated at once, each after the true chunks before
it, by J Euler steps of the teacher-forced pass. That is J forward passes of a
few films, where a rollout would take J for each chunk. The appearance drawn in
each chunk is read back from its pixels, and compared with the character's own:

  continued   the shot continues, and the window shows the character
  near        a character returns whom the window still shows
  far         a character returns whom only memory shows
  new         a character appears for the first time; right only by chance

The metrics `hue`, `shape` and `pattern` of a kind are the shares of its
readable chunks in which that feature is right; `exact`, `confused` and
`unreadable` are shares of all of its chunks. A chunk is confused if it shows
the appearance of another character that the film has shown before.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.config import Config
from cinejax.diffusion.solver import euler_step
from cinejax.diffusion.timesteps import euler_grid
from cinejax.film.timeline import Timeline
from cinejax.models import denoiser
from cinejax.models.codec.base import Codec, to_bytes
from cinejax.models.text.select import Text
from cinejax.objectives import guidance
from cinejax.story import read_back, world
from cinejax.story.films import StoryFilms, make_painter

FILMS = 24
STEPS = 12  # J
KINDS = ('continued', 'near', 'far', 'new')
_FEATURES = ('hue', 'shape', 'pattern')

# (averaged params, the codec's params) -> metrics by name
ProbeFn = Callable[[Any, Any], dict[str, float]]


def make_recall_probe(cfg: Config, text: Text, codec: Codec) -> ProbeFn:
  """Returns probe(params, codec params) -> {'recall/far_hue': ..., ...}.

  The films are those of config.eval.seed, which no training reads. They and
  the noise are the same in every call. The metrics of a kind without chunks
  are absent.
  """
  chunks, frames = cfg.data.chunks, cfg.film.frames_per_chunk
  source = StoryFilms(
    kinds=(('dense', 0.3), ('short', 0.3), ('crowd', 0.4)),
    seed=cfg.eval.seed,
    chunks=chunks,
    film=cfg.film,
    stride=cfg.codec.temporal_stride,
    encode_text=text.encode,
    steered=bool(cfg.text.actions),
  )
  batch = jax.tree.map(
    lambda *rows: np.stack(rows), *(source[index] for index in range(FILMS))
  )
  casts = [source.cast(index) for index in range(FILMS)]
  film_fn = denoiser.make_film_fn(
    dataclasses.replace(cfg.dit, unroll='none'), cfg.memory
  )
  paint = make_painter(codec, 1.0)
  negative_text_WD = text.encode([cfg.rollout.negative_prompt])[0]
  times = euler_grid(STEPS, cfg.diffusion.shift)

  @jax.jit
  def generate(params, codec_params, batch):
    films = guidance.films(paint(codec_params, batch), frames)
    key = jax.random.key(cfg.seed)
    velocity_fn = guidance.guided(
      film_fn, films, key, negative_text_WD, cfg.rollout.guidance
    )

    def step(x, pair):
      t, t_next = (jnp.broadcast_to(time, films.shape_BNF) for time in pair)
      return euler_step(x, velocity_fn(params, x, t), t, t_next), None

    pairs = jnp.asarray(np.stack([times[:-1], times[1:]], 1))
    x = jax.random.normal(key, films.clean_BNFYXC.shape)
    x, _ = jax.lax.scan(step, x, pairs)
    x = x.reshape(len(x), chunks * frames, *x.shape[3:])
    return to_bytes(codec.decode(codec_params, x))

  timeline = Timeline(frames, cfg.codec.temporal_stride, cfg.film.fps)
  window_chunks = cfg.memory.window_frames // frames

  def probe(params: Any, codec_params: Any) -> dict[str, float]:
    videos = np.asarray(generate(params, codec_params, batch))
    kinds = [_kinds(cast, chunks, window_chunks) for cast in casts]
    drawn = [  # without the padding of a shorter film
      _drawn(video, timeline, len(film_kinds))
      for video, film_kinds in zip(videos, kinds, strict=True)
    ]
    characters = [cast.chunk_characters()[:chunks] for cast in casts]
    wanted = [
      [cast.appearances[who] for who in people]
      for cast, people in zip(casts, characters, strict=True)
    ]
    confused = [
      [
        one in {cast.appearances[who] for who in people[:chunk]} - {own}
        for chunk, (one, own) in enumerate(zip(row, right, strict=True))
      ]
      for cast, people, row, right in zip(
        casts, characters, drawn, wanted, strict=True
      )
    ]
    return summary(
      *(np.concatenate(rows) for rows in (kinds, drawn, wanted, confused))
    )

  return probe


def summary(
  kinds: Sequence[str],
  drawn: Sequence[int],
  wanted: Sequence[int],
  confused: Sequence[bool],
) -> dict[str, float]:
  """The metrics of chunks by kind.

  Args:
    kinds: the kind of each chunk, one of KINDS.
    drawn: the index in world.APPEARANCES that was read back from each chunk;
      -1 if it could not be read.
    wanted: the index of the character's own appearance.
    confused: whether the chunk shows another character's appearance.
  """
  kinds, drawn, wanted, confused = (
    np.asarray(x) for x in (kinds, drawn, wanted, confused)
  )
  table = np.array(world.APPEARANCES)  # hue, shape and pattern of each
  metrics: dict[str, float] = {}
  for kind in KINDS:
    own = kinds == kind
    if not own.any():
      continue
    seen = own & (drawn >= 0)
    metrics[f'recall/{kind}_exact'] = float((drawn == wanted)[own].mean())
    metrics[f'recall/{kind}_confused'] = float(confused[own].mean())
    metrics[f'recall/{kind}_unreadable'] = float((drawn < 0)[own].mean())
    if seen.any():
      right = (table[drawn[seen]] == table[wanted[seen]]).mean(0)
      for name, share in zip(_FEATURES, right, strict=True):
        metrics[f'recall/{kind}_{name}'] = float(share)
  return metrics


def _kinds(cast: world.StoryFilm, chunks: int, window_chunks: int) -> list[str]:
  """The kind of each chunk, one of KINDS."""
  people = cast.chunk_characters()[:chunks]
  shots = [cast.segment_shots()[i] for i in cast.chunk_segments()]
  kinds = []
  for chunk, who in enumerate(people):
    before = [i for i in range(chunk) if people[i] == who]
    if not before:
      kinds.append('new')
    elif shots[chunk] == shots[chunk - 1]:
      kinds.append('continued')
    else:
      near = before[-1] >= chunk - window_chunks
      kinds.append('near' if near else 'far')
  return kinds


def _drawn(
  video_TYXC: np.ndarray, timeline: Timeline, chunks: int
) -> list[int]:
  """The appearance in most frames of each chunk; -1 if it is unreadable."""
  readings = read_back.read_frames(video_TYXC)
  starts = [timeline.chunk_start_pixel(i) for i in range(chunks)]
  ends = [*starts[1:], timeline.pixel_frames(chunks)]
  return [
    read_back.read_shot(readings, start, end).appearance
    for start, end in zip(starts, ends, strict=True)
  ]
