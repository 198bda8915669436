import types

import pytest

from cinejax.config import resolve
from cinejax.models.text.select import make_text
from cinejax.serving.prompts import PromptReader, vocabulary
from cinejax.story import world
from configs import story, tiny


def _reader(**changes):
  config = tiny.get_config()
  config.text.words = 12
  config.update_from_flattened_dict(changes)
  cfg = resolve(config)
  text = make_text(cfg.text)
  check = text.encode if cfg.text.actions else lambda prompts: None
  return PromptReader(
    types.SimpleNamespace(
      cfg=cfg, text=text, check_prompt=lambda prompt: check([prompt])
    )
  )


def _marked(line, answer):
  units = line.encode('utf-16-le')
  return [
    units[2 * a : 2 * b].decode('utf-16-le') for a, b in answer['unknown']
  ]


def test_a_prompt_of_the_grammar_needs_no_note():
  line = 'Ada walks left\nin the forest, wide shot, panning'
  answer = _reader().to_json(line)
  assert (answer['tokens'], answer['limit']) == (9, 12)
  assert answer['unknown'] == answer['notes'] == []
  assert answer['read'] == len(line)


def test_unknown_words_are_marked_where_they_stand():
  line = '🦊 Ada fliés in the forest, wide shot by night'
  answer = _reader().to_json(line)
  assert _marked(line, answer) == ['fliés', 'by', 'night']
  assert answer['notes'] == ['This model has never seen: fliés, by, night.']


def test_known_words_out_of_order_get_the_grammar():
  (note,) = _reader().to_json('forest Ada')['notes']
  assert note.startswith('This model knows one kind of sentence')


def test_the_end_that_the_encoder_does_not_read_is_found():
  line = 'cut: ' + 'Ada jumps ' * 9
  answer = _reader().to_json(line)
  # the prefix of a cut, `Cut to:`, takes two of the twelve tokens
  assert (answer['tokens'], answer['limit']) == (20, 12)
  assert line[: answer['read']] == 'cut: ' + 'Ada jumps ' * 4 + 'Ada jumps'
  assert any('has 20; the end of it' in note for note in answer['notes'])


def test_what_is_typed_for_cuts_and_lengths_is_explained():
  answer = _reader().to_json('CUT: Ada jumps in the cave, wide shot * 2')
  assert (answer['cut'], answer['chunks']) == (True, 2)
  assert answer['prompt'] == 'Ada jumps in the cave, wide shot'
  assert [note.split()[0] for note in answer['notes']] == ['`cut:`', '`*']


def test_a_prompt_may_hold_the_words_around_it():
  line = 'cut: cut 3'
  answer = _reader().to_json(line)
  assert _marked(line, answer) == ['cut', '3'] and answer['chunks'] == 1
  assert answer['unknown'][0] == [5, 8]


def test_actions_are_explained():
  (note,) = _reader(**{'film.height': 32}).to_json('Ada [left|jump]')['notes']
  assert 'takes no actions' in note
  steered = _reader(
    **{'text.actions': ('left', 'jump'), 'dit.actions': 2, 'film.height': 32}
  )
  (note,) = steered.to_json('Ada [left|jump]')['notes']
  assert note.endswith('this model takes left, jump.')
  (note,) = steered.to_json('Ada [fly]')['notes']
  assert 'names an action fly' in note


@pytest.mark.parametrize('line', ['', '  ', 'cut:', '* 3'])
def test_an_unfinished_prompt_is_no_error(line):
  answer = _reader().to_json(line)
  assert answer['tokens'] == 0 and answer['unknown'] == []


def test_a_model_of_free_text_has_no_vocabulary():
  assert vocabulary(_reader(**{'film.height': 32})._director.cfg) is None
  assert _reader(**{'film.height': 32}).to_json('a dragon')['notes'] == []


def test_every_choice_of_the_vocabulary_is_a_prompt():
  parts = vocabulary(resolve(story.get_config()))
  for number, part in enumerate(parts):
    for text in part:
      chosen = [one[0] for one in parts]
      chosen[number] = text
      prompt = ' '.join(chosen).replace(' ,', ',')
      assert world.parse_prompt(prompt) is not None, prompt
