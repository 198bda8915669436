"""Clips are shown at their times, whatever else their files hold."""

import fractions
import io
import struct

import av
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film import media
from cinejax.film.timeline import Timeline
from data_prep import shots
from tests.film import clips

EXACT = {'qp': '0', 'bf': '0'}  # of libx264


def test_frames_are_shown_at_their_times(tmp_path):
  times = [0, 100, 200, 300, 1300, 2300, 2400, 2500]  # ms
  frames = [clips.grey(number) for number in range(8)]
  path = clips.write(tmp_path / 'a.mp4', frames, times)
  found = clips.numbers(media.read_frames(path, fps=10))
  assert found == [0, 1, 2, *[3] * 10, *[4] * 10, 5, 6, 7]
  assert clips.numbers(media.read_frames(path)) == list(range(8))
  assert clips.numbers(media.read_frames(path, start=3, stop=5, fps=2)) == [
    3,
    3,
    4,
    4,
  ]


def test_training_films_follow_times(tmp_path):
  times = [0, 100, 200, 300, 1300, 2300, 2400, 2500]
  frames = [clips.grey(number) for number in range(8)]
  path = clips.write(tmp_path / 'a.mp4', frames, times)
  found = shots.survey(path)
  plan = shots.plan_films(found, Timeline(1, 1, 10.0), 100)
  kept = plan.films[0][0].frames
  assert kept[:24] == (0, 1, 2, *[3] * 10, *[4] * 10, 5)
  (video,) = shots.read_films(path, plan, found.picture, (32, 48))
  assert tuple(clips.numbers(video)) == kept


@pytest.mark.parametrize('rate', [24, fractions.Fraction(30_000, 1001), 60])
@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'mov', 'avi', 'ts'])
def test_rounded_times_of_constant_rates_are_constant(tmp_path, rate, suffix):
  frames = [clips.grey(number) for number in range(40)]
  path = tmp_path / f'a.{suffix}'
  media_rate = fractions.Fraction(rate)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=media_rate, options=EXACT)
    stream.height, stream.width, stream.pix_fmt = 32, 48, 'yuv420p'
    for image_YXC in frames:
      frame = av.VideoFrame.from_ndarray(image_YXC, 'rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  assert clips.numbers(media.read_frames(path, fps=rate)) == list(range(40))
  if suffix != 'ts':
    assert not shots.survey(path).times


def test_a_stream_that_starts_late_begins_with_its_first_frame(tmp_path):
  frames = [clips.grey(number) for number in range(4)]
  path = clips.write(tmp_path / 'a.mkv', frames, [5000, 5100, 5200, 5300])
  assert clips.numbers(media.read_frames(path, fps=10)) == [0, 1, 2, 3]


def test_what_an_edit_list_removes_is_not_shown(tmp_path):
  path = clips.write(
    tmp_path / 'a.mp4', [clips.grey(n) for n in range(12)], rate=10
  )
  data = bytearray(path.read_bytes())
  at = data.index(b'elst')
  version, count = data[at + 4], int.from_bytes(data[at + 8 : at + 12], 'big')
  assert (version, count) == (0, 1)
  ticks = fractions.Fraction(10_240)  # of the media, a second
  begin = int.from_bytes(data[at + 16 : at + 20], 'big') + int(ticks * 4 / 10)
  data[at + 12 : at + 20] = struct.pack('>Ii', 800, begin)
  path.write_bytes(data)
  assert clips.numbers(media.read_frames(path))[0] == 4


def _with_cover(path, cover_first):
  jpeg = io.BytesIO()
  media.Image.fromarray(np.full((64, 64, 3), 9, np.uint8)).save(jpeg, 'jpeg')
  with av.open(str(path), 'w') as container:

    def add_film():
      film = container.add_stream('libx264', rate=24, options=EXACT)
      film.height, film.width, film.pix_fmt = 32, 48, 'yuv420p'
      return film

    if not cover_first:
      film = add_film()
    cover = container.add_stream('mjpeg', rate=1)
    cover.height = cover.width = 64
    cover.pix_fmt = 'yuvj420p'
    cover.disposition = 0x400
    if cover_first:
      film = add_film()
    packet = av.Packet(jpeg.getvalue())
    packet.stream, packet.pts, packet.dts = cover, 0, 0
    packet.is_keyframe = True
    container.start_encoding()
    container.mux(packet)
    for number in range(6):
      frame = av.VideoFrame.from_ndarray(clips.grey(number), 'rgb24')
      container.mux(film.encode(frame))
    container.mux(film.encode(None))


@pytest.mark.parametrize('cover_first', [False, True])
def test_cover_art_is_not_the_film(tmp_path, cover_first):
  _with_cover(tmp_path / 'a.mp4', cover_first)
  assert clips.numbers(media.read_frames(tmp_path / 'a.mp4')) == list(range(6))


def test_of_several_streams_one_is_reported(tmp_path, capsys):
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    streams = [
      container.add_stream('libx264', rate=24, options=EXACT) for _ in range(2)
    ]
    for stream in streams:
      stream.height, stream.width, stream.pix_fmt = 32, 48, 'yuv420p'
    for number in range(4):
      for stream in streams:
        frame = av.VideoFrame.from_ndarray(clips.grey(number), 'rgb24')
        frame.pts = number
        container.mux(stream.encode(frame))
    for stream in streams:
      container.mux(stream.encode(None))
  assert clips.numbers(media.read_frames(path)) == [0, 1, 2, 3]
  assert 'has 2 video streams; stream 0 is used' in capsys.readouterr().err


def test_a_wrong_length_is_no_truncation(tmp_path):
  """The sound is longer than the picture, and the file states its length."""
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    film = container.add_stream('libx264', rate=24, options=EXACT)
    film.height, film.width, film.pix_fmt = 32, 48, 'yuv420p'
    sound = container.add_stream('pcm_s16le', rate=8000, layout='mono')
    for number in range(12):
      frame = av.VideoFrame.from_ndarray(clips.grey(number), 'rgb24')
      container.mux(film.encode(frame))
    container.mux(film.encode(None))
    samples = av.AudioFrame.from_ndarray(
      np.zeros((1, 80_000), np.int16), 's16', 'mono'
    )
    samples.sample_rate, samples.pts = 8000, 0
    container.mux(sound.encode(samples))
    container.mux(sound.encode(None))
  assert clips.numbers(media.read_frames(path)) == list(range(12))
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 50])
  with pytest.raises(UserError, match=r'a\.mkv'):
    list(media.read_frames(path))


def test_frames_of_another_size_get_that_of_the_first(tmp_path):
  path = tmp_path / 'a.mjpeg'
  data = b''
  for size in ((32, 48), (64, 96)):
    buffer = io.BytesIO()
    media.Image.fromarray(clips.grey(3, *size)).save(buffer, 'jpeg')
    data += buffer.getvalue()
  path.write_bytes(data)
  frames = list(media.read_frames(path))
  assert [frame.shape for frame in frames] == [(32, 48, 3)] * 2


def test_a_codec_that_is_not_known_is_a_sentence(tmp_path):
  path = clips.write(tmp_path / 'a.mp4', [clips.grey(1)] * 3)
  path.write_bytes(path.read_bytes().replace(b'avc1', b'new1'))
  for read in (media.probe, lambda path: list(media.read_frames(path))):
    with pytest.raises(UserError, match=r'a\.mp4: its video is in a codec'):
      read(path)


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS'),
    (b'\n<!DOCTYPE html><html>', 'a web page; download'),
    (b'', 'an empty file'),
    (b'no clip', 'cannot be read as video'),
  ],
)
def test_what_is_no_clip_is_named(tmp_path, data, message):
  (tmp_path / 'a.mp4').write_bytes(data)
  with pytest.raises(UserError, match=message):
    media.probe(tmp_path / 'a.mp4')
