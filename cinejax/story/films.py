"""An endless sequence of story films, cast on request.

A film is delivered as the states of its pixel frames, a few numbers each. The
update that trains on it paints and encodes it on the device (`make_painter`).
So nothing is stored, no film is seen twice, and the sequence is a pure function
of its seed and of the number of films before.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.blocks import map_in_blocks
from cinejax.film.config import FilmConfig
from cinejax.film.screenplay import ChunkPrompt, chunk_prompts
from cinejax.film.timeline import Timeline
from cinejax.models.codec.base import Codec, from_bytes
from cinejax.story import casting, motion, render, world
from cinejax.story.steering import steered_prompts

Batch = dict[str, Any]
_RANDOM_ACTIONS = 1  # sets their random numbers apart from those of the kind
# Kinds of labels of a frame, with the number of their classes. `phase` is the
# quarter of the gait, of a jump or of breathing.
LABELS = {
  'name': len(world.CHARACTERS),
  'hue': len(world.HUES),
  'shape': len(world.SHAPES),
  'pattern': len(world.PATTERNS),
  'place': len(world.PLACES),
  'phase': 4,
}


@dataclasses.dataclass(frozen=True)
class StoryFilms:
  """The films numbered 0, 1, 2 ... of a mixture of kinds.

  The kind of film i is drawn from the seed and i, and its number within the
  kind is i. Where chunks have fewer latent frames than in casting.py, a film
  keeps its number of chunks, so that its shots become shorter, or with
  `keep_frames` its length, so that it has more chunks.
  """

  kinds: tuple[tuple[str, float], ...]  # (kind of casting.KINDS, share)
  seed: int
  chunks: int  # N; longer films lose their end, shorter ones are padded
  film: FilmConfig
  stride: int  # pixel frames a latent frame
  encode_text: Callable[[Sequence[str]], np.ndarray]
  labels: bool = False  # whether rows have `labels`
  steered: bool = False  # whether actions stand in place of action words
  keep_frames: bool = False  # see above; not of kind `pictures`
  told: bool = False  # whether rows have `told`, the prompts with action words

  def cast(self, index: int) -> world.StoryFilm:
    """Film `index`, before it is cut or padded."""
    names, shares = zip(*self.kinds, strict=True)
    rng = np.random.default_rng([self.seed, index])
    kind = names[rng.choice(len(names), p=np.array(shares) / sum(shares))]
    film = casting.cast(kind, self.seed, index)
    frames = self.film.frames_per_chunk
    return film.in_chunks_of(frames) if self.keep_frames else film

  def __getitem__(self, index: int) -> Batch:
    """One row of a batch.

    Returns:
      `text`, `mask` and `shots` as data/pipeline.py describes, but that the
      mask of a given picture is 0, which is read and not drawn; and `states`,
      the fields of motion.Frames with a leading axis of pixel frames.
      With `told`, the prompts of 60 % of segments ask for an action at random,
      and `told` [N, W, D] are the same prompts with action words.
      With `labels` also `labels`, int32 [N F, 6]: for each latent frame, the
      class of its last pixel frame in every kind of LABELS.
    """
    cast = self.cast(index)
    timeline = Timeline(self.film.frames_per_chunk, self.stride, self.film.fps)
    asked = self._with_random_actions(cast, index) if self.told else cast
    prompts = self._prompts(asked, timeline, self.steered)
    states = motion.describe(
      cast,
      self.film.frames_per_chunk,
      self.stride,
      frames=timeline.pixel_frames(self.chunks),
    )
    missing = self.chunks - len(prompts)
    drawn = [
      not cast.segments[segment].picture
      for segment in cast.chunk_segments()[: len(prompts)]
    ]
    row = {
      'text': self._encode(prompts),
      'mask': np.pad(np.float32(drawn), (0, missing)),
      'shots': np.array(
        [prompt.shot for prompt in prompts] + missing * [-1], np.int32
      ),
      'states': states._asdict(),
    }
    if self.told:
      told = self._encode(self._prompts(asked, timeline, steered=False))
      row['told'] = told[:, : -self.film.frames_per_chunk]  # without actions
    if self.labels:
      row['labels'] = self._labels(cast, states)
    return row

  def _encode(self, prompts: Sequence[ChunkPrompt]) -> np.ndarray:
    """Encoded prompts of all N chunks, 0 where the film has ended."""
    text_nWD = self.encode_text([prompt.prompt for prompt in prompts])
    return np.pad(text_nWD, ((0, self.chunks - len(prompts)), (0, 0), (0, 0)))

  def _with_random_actions(
    self, cast: world.StoryFilm, index: int
  ) -> world.StoryFilm:
    rng = np.random.default_rng([self.seed, index, _RANDOM_ACTIONS])
    drawn = rng.integers(len(world.ACTIONS), size=len(cast.segments))
    segments = [
      dataclasses.replace(segment, action=int(action)) if changes else segment
      for segment, action, changes in zip(
        cast.segments, drawn, rng.random(len(drawn)) < 0.6, strict=True
      )
    ]
    return dataclasses.replace(cast, segments=tuple(segments))

  def _prompts(
    self, cast: world.StoryFilm, timeline: Timeline, steered: bool
  ) -> list[ChunkPrompt]:
    """The prompts of the first N chunks."""
    prompts = list(
      chunk_prompts(
        cast.screenplay(), self.film.cut_prefix, timeline.chunk_secs
      )
    )
    # No cut leads to a picture, nor to the chunk that opens the film after it.
    for i, segment in enumerate(cast.segments):
      if not segment.picture:
        break
      for chunk in (i, i + 1):
        bare = world.prompt(cast.segments[chunk])
        prompts[chunk] = prompts[chunk]._replace(prompt=bare)
    if steered:
      prompts = steered_prompts(
        cast, prompts, self.film.frames_per_chunk, self.stride
      )
    return list(prompts[: self.chunks])

  def _labels(self, cast: world.StoryFilm, states: motion.Frames) -> np.ndarray:
    frames = self.chunks * self.film.frames_per_chunk
    last = motion.Frames(
      *(x[: frames * self.stride : self.stride] for x in states)
    )
    # the character of a latent frame: chunks may be shorter than those cast
    people = np.repeat(cast.chunk_characters(), self.film.frames_per_chunk)
    quarter = np.floor(last.step / (np.pi / 2)) % 4
    columns = (
      people[np.minimum(np.arange(frames), len(people) - 1)],
      last.hue,
      last.shape,
      last.pattern,
      last.place,
      quarter,
    )
    return np.stack(columns, -1).astype(np.int32)

  def __len__(self) -> int:
    """A number that no training reaches; Grain needs one."""
    return 2**50


def make_painter(
  codec: Codec, appearance_weight: float
) -> Callable[[Any, Batch], Batch]:
  """Makes paint(codec_params, batch) -> batch, which can be traced.

  It replaces `states` by `latents`, float32 [B, N F, Y, X, C], and `weight`
  [B, N F, Y, X, 1], the weight of the loss in a latent cell.

  Args:
    codec: encodes the painted frames.
    appearance_weight: the weight of a cell whose pixels are all covered by a
      character; it is 1 if none is. Recall depends on appearances alone, which
      cover a small share of the picture.
  """

  def one(params, states):
    video_TYXC, cover_TYX = render.paint_with_cover(motion.Frames(**states))
    latents = codec.encode(params, from_bytes(video_TYXC)[None])[0]
    weight = 1 + (appearance_weight - 1) * _pooled(cover_TYX, codec)
    return latents.astype(jnp.float32), weight[..., None]

  def paint(params, batch):
    states = batch['states']
    latents, weight = map_in_blocks(lambda x: one(params, x), states, 1)
    rest = {name: x for name, x in batch.items() if name != 'states'}
    return rest | {'latents': latents, 'weight': weight}

  return paint


def _pooled(cover_TYX: jax.Array, codec: Codec) -> jax.Array:
  """Means over the pixels of latent cells, [frames, rows, columns].

  The first latent frame is one pixel frame, every other `temporal_stride`.
  """
  time, space = codec.temporal_stride, codec.spatial_stride
  first, rest = cover_TYX[:1], cover_TYX[1:]
  rows, columns = (size // space for size in cover_TYX.shape[1:])
  frames = jnp.concatenate(
    [first, rest.reshape(-1, time, *rest.shape[1:]).mean(1)]
  )
  return frames.reshape(-1, rows, space, columns, space).mean((2, 4))
