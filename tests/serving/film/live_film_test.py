import json

import numpy as np
import pytest

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.journal import Film, Segment, Settings
from cinejax.film.screenplay import chunk_prompts
from cinejax.interop.tensors import save_tree
from cinejax.serving.film.archive import SessionArchive
from cinejax.serving.film.chunk import decode_output
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.restoring import FilmFiles
from cinejax.serving.film.slots import Slots

ONE = '1' * 16  # as sessions are named


@pytest.fixture(scope='module')
def slots(director):
  return Slots(director, 1)


def _roll(director, slots, live_film, chunks):
  for _ in range(chunks):
    request = live_film.start_chunk()
    (output,) = slots.run(Settings(), [request.slot_input])
    chunk = decode_output(director, request, output)
    live_film.finish_chunk(chunk)
  return chunk


def _replay(director, slots, live_film):
  while live_film.replaying:
    _roll(director, slots, live_film, 1)


def _finished_film(director, slots, max_snapshots=2):
  """a a | b b | c: six chunks, of which the last is c's second."""
  live_film = LiveFilm(director, 5, max_snapshots)
  for prompt, cut in (('a', True), ('b', True), ('c', False)):
    live_film.add_segment(Segment(prompt, chunks=1, cut=cut))
    _roll(director, slots, live_film, 2)
  return live_film


@pytest.fixture(scope='module')
def film(director, slots):
  return _finished_film(director, slots).spool.latents()


def test_a_live_film_is_the_film_that_its_screenplay_makes(director, slots):
  live_film = _finished_film(director, slots)
  prompts = chunk_prompts(
    live_film.screenplay(), director.cfg.film.cut_prefix, 1.0
  )
  frames = np.stack(list(live_film.frames()))
  directed = np.concatenate(
    [v[0] for v in director.roll([[p] for p in prompts], [5])]
  )
  np.testing.assert_array_equal(frames, directed)
  assert (
    live_film.spool.frames == 6 * 3
    and live_film.spool.thumbnail(0)[:2] == b'\xff\xd8'
  )


@pytest.mark.parametrize('chunk', [0, 2, 4, 6])
def test_going_back_and_saying_the_same_is_the_same_film(
  director, slots, film, chunk
):
  live_film = _finished_film(director, slots)
  live_film.rewind(chunk)
  assert live_film.chunks == live_film.journal.chunks == chunk
  assert len(live_film.spool) == chunk
  for prompt, cut in (('a', True), ('b', True), ('c', False))[chunk // 2 :]:
    live_film.add_segment(Segment(prompt, chunks=1, cut=cut))
    _roll(director, slots, live_film, 2)
  np.testing.assert_array_equal(live_film.spool.latents(), film)


def test_a_fork_goes_its_own_way_and_leaves_the_other_alone(
  director, slots, film
):
  live_film = _finished_film(director, slots)
  fork = live_film.fork(4)
  fork.add_segment(Segment('something else', chunks=1, cut=True))
  _roll(director, slots, fork, 2)
  np.testing.assert_array_equal(fork.spool.latents()[:4], film[:4])
  assert not np.array_equal(fork.spool.latents()[4:], film[4:])
  np.testing.assert_array_equal(live_film.spool.latents(), film)
  again = live_film.fork(4)
  again.add_segment(Segment('c', chunks=1, cut=False))
  _roll(director, slots, again, 2)
  np.testing.assert_array_equal(again.spool.latents(), film)


def test_a_film_goes_back_to_any_chunk(director, slots, film):
  """Far from a snapshot, chunks that are there are generated again."""
  live_film = _finished_film(director, slots, max_snapshots=1)
  assert live_film.rewind_chunks == (0, 2, 4, 6)
  with pytest.raises(UserError, match=r'no chunk 7; .* 0 to 6'):
    live_film.rewind(7)
  live_film.start_chunk()
  fork = live_film.fork(6)  # its state is away, but not that of chunk 4
  assert fork.replaying and fork.chunks == 6
  _replay(director, slots, fork)
  np.testing.assert_array_equal(fork.spool.latents(), film)
  live_film.rewind(3)
  assert live_film.replaying and live_film.rewind_chunks == (0, 2, 3)
  _replay(director, slots, live_film)
  _roll(director, slots, live_film, 1)
  np.testing.assert_array_equal(live_film.spool.latents(), film[:4])


def test_what_the_memory_reads_is_listed(director, slots):
  live_film = _finished_film(director, slots)
  chunk = _roll(director, slots, live_film, 1)
  assert chunk.window == (12, 18)  # V = 6
  assert chunk.routed_frames and all(
    routed.frame < 12 for routed in chunk.routed_frames
  )
  passes = sum(routed.share for routed in chunk.routed_frames)
  assert passes == pytest.approx(director.cfg.memory.routed_frames)


def test_a_chunk_that_is_not_finite_is_refused(director, slots):
  live_film = LiveFilm(director, 0, 0)
  live_film.add_segment(Segment('a', chunks=1))
  request = live_film.start_chunk()
  (output,) = slots.run(Settings(), [request.slot_input])
  broken = output.chunk.replace(
    latents_BFYXC=output.chunk.latents_BFYXC.at[0, 0].set(np.nan)
  )
  with pytest.raises(FloatingPointError):
    decode_output(director, request, output._replace(chunk=broken))


def _recorded(director, slots, archive):
  """The film of _finished_film, with a record."""
  live_film = FilmFiles(director, archive).new(ONE, 5, 'Title')
  for prompt, cut in (('a', True), ('b', True), ('c', False)):
    live_film.add_segment(Segment(prompt, chunks=1, cut=cut))
    _roll(director, slots, live_film, 2)
  return live_film


@pytest.mark.parametrize('saved', [True, False])
def test_a_film_is_taken_up_again_bit_for_bit(
  director, slots, film, tmp_path, saved
):
  archive = SessionArchive(tmp_path, 'model')
  live_film = _recorded(director, slots, archive)
  live_film.rewind(4)
  if saved:
    archive.save_state(ONE, live_film)
  restored = FilmFiles(director, archive).restore(ONE)
  again = restored.live_film
  assert (again.chunks, restored.title) == (4, 'Title')
  assert again.screenplay() == live_film.screenplay()
  assert again.replaying != saved
  assert again.spool.chunk(3)[1] == live_film.spool.chunk(3)[1]
  _replay(director, slots, again)
  again.add_segment(Segment('c', chunks=1, cut=False))
  _roll(director, slots, again, 2)
  np.testing.assert_array_equal(again.spool.latents(), film)


def test_a_state_is_not_taken_up_by_another_model_or_film(
  director, slots, tmp_path
):
  archive = SessionArchive(tmp_path, 'model')
  live_film = _recorded(director, slots, archive)
  archive.save_state(ONE, live_film)
  archive.flush()
  film = live_film.screenplay()
  assert SessionArchive(tmp_path, 'other').state(ONE, film) is None
  longer = Film((*film.segments, Segment('d', chunks=2)), seed=5)
  for longest in (film, longer):
    assert archive.state(ONE, longest)[0] == 6
  assert archive.state(ONE, Film(longer.segments[1:], seed=5)) is None
  (tmp_path / f'{ONE}.safetensors').write_bytes(b'torn')
  assert archive.state(ONE, longer) is None
  assert FilmFiles(director, archive).restore(ONE).live_film.replaying
  other = FilmFiles(director, SessionArchive(tmp_path, 'other')).restore(ONE)
  assert not other.live_film.chunks and other.film.segments == film.segments
  with pytest.raises(UserError, match='no such saved session'):
    archive.check('../' + ONE)


def test_a_film_of_an_earlier_version_gets_a_journal(director, slots, tmp_path):
  live_film = _finished_film(director, slots)
  film, snapshot = live_film.screenplay('Old'), live_film.snapshot()
  thumbnails = [live_film.spool.thumbnail(n) for n in range(18)]
  tree = {
    'state': tree_lib.nested(snapshot.state),
    'decoder': tree_lib.nested(snapshot.decoder),
    'latents': live_film.spool.latents(),
    'thumbs': np.frombuffer(b''.join(thumbnails), np.uint8),
    'thumb_bytes': np.array([len(one) for one in thumbnails]),
  }
  metadata = {'model': 'model', 'film': json.dumps(screenplay.document(film))}
  save_tree(tmp_path / f'{ONE}.safetensors', tree, metadata)
  screenplay.save(film, tmp_path / f'{ONE}.json')
  files = FilmFiles(director, SessionArchive(tmp_path, 'model'))
  for _ in range(2):  # from the old files, and from the journal
    restored = files.restore(ONE)
    again = restored.live_film
    assert not again.replaying and restored.title == 'Old'
    np.testing.assert_array_equal(again.spool.latents(), tree['latents'])
    assert [again.spool.thumbnail(n) for n in range(18)] == thumbnails
    assert (tmp_path / f'{ONE}.journal').exists()
