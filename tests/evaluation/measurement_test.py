import json

from cinejax.evaluation.measurement import FilmMeasurement
from cinejax.evaluation.metrics import prompts as prompts_lib
from cinejax.film import sheet
from cinejax.film.timeline import Timeline
from cinejax.story import casting, render


def measure(video_TYXC, rows):
  with FilmMeasurement() as measurement:
    for frame_YXC in video_TYXC:
      measurement.add_frame(frame_YXC)
    return measurement.figures(rows)


def test_a_rendered_film_measures_as_right():
  film = casting.cast('eval', 31, 0)
  rows = sheet.film_rows(film.screenplay(), Timeline(3, 4, 8))
  figures = measure(render.render(film), rows)
  assert figures['recall'] == figures['place'] == figures['size'] == 1
  assert len(figures['segments']) == len(film.segments)
  json.dumps(figures, allow_nan=False)
  blank = [row._replace(caption='a dog') for row in rows]
  assert not prompts_lib.is_readable(render.render(film), blank)
  assert measure(render.render(film), blank)['recall'] is None
