"""Does a picture recall a character as well as its own past shots do?

  python -m cinejax.sweep configs/ablations/cast.py --workdir=runs/cast

In `recall_cast` only a picture shows the character, and the film its first
shot; in `recall_given` the past of the film shows it. The prompts of a picture
say more or less of what it shows: a name alone, or a name with an action and a
size, or also a place, which is another one than that of the picture in five
films of six. Three sampling seeds; about 15 minutes a point on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = (
  'recall_cast',
  'recall_cast opening',
  'recall_cast later',
  'recall_cast_chance',
  'recall_given',
  'unreadable_cast',
)
PROMPTS = {
  'name': '{name}',
  'action': '{name} stands, medium shot',
  'place': '{name} stands in the forest, medium shot',
}


def get_config(variant: str = '') -> ConfigDict:
  return story.get_config(variant)


def sweep() -> list[ablations.Point]:
  return [
    {'name': name, 'film.cast_prompt': prompt}
    for name, prompt in PROMPTS.items()
  ]


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (f'{ablations.EVALUATE} --metrics=given,cast',)
