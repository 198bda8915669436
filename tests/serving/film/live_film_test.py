import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment, Settings
from cinejax.film.screenplay import chunk_prompts
from cinejax.serving.film.archive import SessionArchive
from cinejax.serving.film.chunk import decode_output
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.slots import Slots

ONE, TWO, THREE = ('1' * 16, '2' * 16, '3' * 16)  # as sessions are named


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


def test_a_film_goes_back_only_to_a_snapshot(director, slots):
  live_film = _finished_film(director, slots, max_snapshots=1)
  assert live_film.rewind_chunks == (0, 4, 6)
  with pytest.raises(UserError, match='take one of 0, 4, 6'):
    live_film.rewind(2)
  live_film.start_chunk()
  assert live_film.chunk_in_flight and live_film.rewind_chunks == (0, 4)
  with pytest.raises(UserError):
    live_film.fork(6)


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


def test_a_film_is_saved_and_taken_up_again_bit_for_bit(
  director, slots, film, tmp_path
):
  archive = SessionArchive(tmp_path, 'model', max_sessions=2)
  live_film = _finished_film(director, slots)
  live_film.rewind(4)
  archive.save(ONE, live_film, live_film.screenplay('Title'))
  saved = archive.load(ONE)
  again = LiveFilm(director, saved.film.seed, 2)
  again.load(saved.finished, saved.snapshot, saved.latents, saved.thumbnails)
  again.add_segment(Segment('c', chunks=1, cut=False))
  _roll(director, slots, again, 2)
  np.testing.assert_array_equal(again.spool.latents(), film)
  assert again.spool.chunk(3)[1] == live_film.spool.chunk(3)[1]
  assert saved.film.title == 'Title'


def test_a_state_is_not_taken_up_by_another_model_or_journal(
  director, slots, tmp_path
):
  live_film = _finished_film(director, slots)
  SessionArchive(tmp_path, 'model', max_sessions=2).save(
    ONE, live_film, live_film.screenplay()
  )
  assert (
    SessionArchive(tmp_path, 'other', max_sessions=2).load(ONE).finished is None
  )
  archive = SessionArchive(tmp_path, 'model', max_sessions=2)
  assert archive.load(ONE).finished == live_film.screenplay()
  longer = Film(
    (*live_film.screenplay().segments, Segment('d', chunks=2)), seed=5
  )
  archive.save_journal(ONE, longer)
  assert archive.load(ONE).finished == live_film.screenplay()
  archive.save_journal(ONE, Film(longer.segments[1:], seed=5))
  assert archive.load(ONE).finished is None
  (tmp_path / f'{ONE}.safetensors').write_bytes(b'torn')
  archive.save_journal(ONE, longer)
  assert archive.load(ONE).finished is None
  with pytest.raises(UserError, match='no such saved session'):
    archive.load('../' + ONE)


def test_the_oldest_saved_sessions_leave(tmp_path):
  archive = SessionArchive(tmp_path, 'model', max_sessions=2)
  for name in (ONE, TWO, THREE):
    archive.save_journal(name, Film((Segment(name, chunks=1),), seed=0))
  assert len(archive.names()) == 2 and THREE in archive.names()
  archive.set_open([THREE, 'gone'])
  assert archive.open() == [THREE]
