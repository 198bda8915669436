import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment, Settings
from cinejax.film.screenplay import chunk_prompts
from cinejax.serving.film.archive import Archive
from cinejax.serving.film.live_film import Reel, develop
from cinejax.serving.film.slots import Slots

ONE, TWO, THREE = ('1' * 16, '2' * 16, '3' * 16)  # as sessions are named


@pytest.fixture(scope='module')
def slots(director):
  return Slots(director, 1)


def _roll(director, slots, reel, chunks):
  for _ in range(chunks):
    asked = reel.begin()
    (done,) = slots.run(Settings(), [asked.turn])
    made = develop(director, asked, done)
    reel.finish(made)
  return made


def _reel(director, slots, kept=2):
  """a a | b b | c: six chunks, of which the last is c's second."""
  reel = Reel(director, 5, kept)
  for prompt, cut in (('a', True), ('b', True), ('c', False)):
    reel.say(Segment(prompt, chunks=1, cut=cut))
    _roll(director, slots, reel, 2)
  return reel


@pytest.fixture(scope='module')
def film(director, slots):
  return _reel(director, slots).tape.latents()


def test_a_reel_is_the_film_that_its_screenplay_makes(director, slots):
  reel = _reel(director, slots)
  said = chunk_prompts(reel.film(), director.cfg.film.cut_prefix, 1.0)
  frames = np.stack(list(reel.frames()))
  directed = np.concatenate(
    [v[0] for v in director.roll([[p] for p in said], [5])]
  )
  np.testing.assert_array_equal(frames, directed)
  assert reel.tape.frames == 6 * 3 and reel.tape.still(0)[:2] == b'\xff\xd8'


@pytest.mark.parametrize('chunk', [0, 2, 4, 6])
def test_going_back_and_saying_the_same_is_the_same_film(
  director, slots, film, chunk
):
  reel = _reel(director, slots)
  reel.rewind(chunk)
  assert reel.chunks == reel.journal.chunks == chunk
  assert len(reel.tape) == chunk
  for prompt, cut in (('a', True), ('b', True), ('c', False))[chunk // 2 :]:
    reel.say(Segment(prompt, chunks=1, cut=cut))
    _roll(director, slots, reel, 2)
  np.testing.assert_array_equal(reel.tape.latents(), film)


def test_a_fork_goes_its_own_way_and_leaves_the_other_alone(
  director, slots, film
):
  reel = _reel(director, slots)
  fork = reel.fork(4)
  fork.say(Segment('something else', chunks=1, cut=True))
  _roll(director, slots, fork, 2)
  np.testing.assert_array_equal(fork.tape.latents()[:4], film[:4])
  assert not np.array_equal(fork.tape.latents()[4:], film[4:])
  np.testing.assert_array_equal(reel.tape.latents(), film)
  again = reel.fork(4)
  again.say(Segment('c', chunks=1, cut=False))
  _roll(director, slots, again, 2)
  np.testing.assert_array_equal(again.tape.latents(), film)


def test_what_is_not_kept_cannot_be_gone_back_to(director, slots):
  reel = _reel(director, slots, kept=1)
  assert reel.kept == (0, 4, 6)
  with pytest.raises(UserError, match='take one of 0, 4, 6'):
    reel.rewind(2)
  reel.begin()
  assert reel.away and reel.kept == (0, 4)
  with pytest.raises(UserError):
    reel.fork(6)


def test_what_the_memory_reads_is_told(director, slots):
  reel = _reel(director, slots)
  made = _roll(director, slots, reel, 1)
  assert made.window == (12, 18)  # V = 6
  assert made.looks and all(look.frame < 12 for look in made.looks)
  passes = sum(look.share for look in made.looks)
  assert passes == pytest.approx(director.cfg.memory.routed_frames)


def test_a_chunk_that_is_not_finite_is_refused(director, slots):
  reel = Reel(director, 0, 0)
  reel.say(Segment('a', chunks=1))
  asked = reel.begin()
  (done,) = slots.run(Settings(), [asked.turn])
  broken = done.output.replace(
    latents_BFYXC=done.output.latents_BFYXC.at[0, 0].set(np.nan)
  )
  with pytest.raises(FloatingPointError):
    develop(director, asked, done._replace(output=broken))


def test_a_film_is_saved_and_taken_up_again_bit_for_bit(
  director, slots, film, tmp_path
):
  archive = Archive(tmp_path, 'model', most=2)
  reel = _reel(director, slots)
  reel.rewind(4)
  archive.save(ONE, reel, reel.film('Title'))
  saved = archive.load(ONE)
  again = Reel(director, saved.film.seed, 2)
  again.resume(saved.made, saved.kept, saved.latents, saved.thumbs)
  again.say(Segment('c', chunks=1, cut=False))
  _roll(director, slots, again, 2)
  np.testing.assert_array_equal(again.tape.latents(), film)
  assert again.tape.chunk(3)[1] == reel.tape.chunk(3)[1]
  assert saved.film.title == 'Title'


def test_a_state_is_not_taken_up_by_another_model_or_journal(
  director, slots, tmp_path
):
  reel = _reel(director, slots)
  Archive(tmp_path, 'model', most=2).save(ONE, reel, reel.film())
  assert Archive(tmp_path, 'other', most=2).load(ONE).made is None
  archive = Archive(tmp_path, 'model', most=2)
  assert archive.load(ONE).made == reel.film()
  longer = Film((*reel.film().segments, Segment('d', chunks=2)), seed=5)
  archive.save_journal(ONE, longer)
  assert archive.load(ONE).made == reel.film()
  archive.save_journal(ONE, Film(longer.segments[1:], seed=5))
  assert archive.load(ONE).made is None
  (tmp_path / f'{ONE}.safetensors').write_bytes(b'torn')
  archive.save_journal(ONE, longer)
  assert archive.load(ONE).made is None
  with pytest.raises(UserError, match='no such saved session'):
    archive.load('../' + ONE)


def test_the_oldest_saved_sessions_leave(tmp_path):
  archive = Archive(tmp_path, 'model', most=2)
  for name in (ONE, TWO, THREE):
    archive.save_journal(name, Film((Segment(name, chunks=1),), seed=0))
  assert len(archive.names()) == 2 and THREE in archive.names()
  archive.set_open([THREE, 'gone'])
  assert archive.open() == [THREE]
