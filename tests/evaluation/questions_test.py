"""Questions are read from files of any nesting, asked, and answers judged."""

import json
import sys

import pytest

from cinejax.core.errors import UserError
from cinejax.evaluation import questions
from cinejax.evaluation.questions import Question

ASK = {'question': 'Is the jacket red?', 'answer': 'yes'}
NESTED = {
  'id': 7,
  'prompts': ['A man walks.', 'He comes back.'],
  'evaluation': {
    'entity': {
      'dimension': 'Human Appearance',
      'qa_pairs': [ASK, {'question': 'Who?', 'answer': 'The same man.'}],
    },
    'causal': [{'type': 'state', 'question': 'Is it broken?', 'answer': True}],
  },
}


def _load(tmp_path, value):
  path = tmp_path / 'cases.json'
  path.write_text(json.dumps(value))
  return questions.load(path)


def test_cases_are_films_with_questions_at_any_depth(tmp_path):
  plain, nested = _load(
    tmp_path, {'cases': [{'prompt': 'A dog.', 'questions': [ASK]}, NESTED]}
  )
  assert [s.prompt for s in plain.film.segments] == ['A dog.']
  assert plain.questions == (Question('Is the jacket red?', 'yes'),)
  first, second = nested.film.segments
  assert second.prompt == 'He comes back.' and not second.cut
  assert first.secs == second.secs == 10
  assert nested.questions == (
    Question('Is the jacket red?', 'yes', 'Human Appearance'),
    Question('Who?', 'The same man.', 'Human Appearance'),
    Question('Is it broken?', 'yes', 'state'),
  )


@pytest.mark.parametrize(
  ('value', 'sentence'),
  [
    ('no', 'is text; a file of questions is a list of cases'),
    ([3], r'\[0\] is the number 3; a case is an object'),
    ([{'questions': [ASK]}], r'\[0\] has no prompt'),
    (
      [{'prompt': 'a', 'qa': [{'question': 'b', 'answer': 1}]}],
      r'\[0\]\.qa\[0\]\.answer is the number 1; it must be text',
    ),
    ([{'prompt': None}], r'prompt has a wrong type'),
  ],
)
def test_mistakes_are_named(tmp_path, value, sentence):
  with pytest.raises(UserError, match=sentence):
    _load(tmp_path, value)


@pytest.mark.parametrize(
  ('answer', 'expected', 'right'),
  [
    ('Yes, it is.', 'yes', True),
    ('B) the dog', 'B', True),
    ('It is B', 'B', False),
    ('No', 'yes', False),
    ('the same  man', 'The same man.', True),
    ('The same man again', 'The same man.', False),
    ('', 'yes', False),
  ],
)
def test_answers_are_judged(answer, expected, right):
  assert questions.is_right(answer, expected) == right


def test_a_command_answers(tmp_path):
  script = tmp_path / 'ask.py'
  script.write_text(
    'import pathlib, sys\n'
    'film, question = sys.argv[1:]\n'
    "print(pathlib.Path(film).read_text() if 'red' in question else 'no')\n"
  )
  film = tmp_path / 'a film.mp4'
  film.write_text('Yes')
  answer_fn = questions.make_answer_fn(f'{sys.executable} {script}')
  (case,) = _load(tmp_path, [NESTED])
  assert questions.score(case.questions, film, answer_fn) == {
    'right': pytest.approx(1 / 3),
    'right_human_appearance': 0.5,
    'right_state': 0.0,
  }
  assert questions.score((), film, answer_fn) == {'right': None}
  with pytest.raises(UserError, match='gave no answer about'):
    questions.make_answer_fn('false')(film, 'a')
  with pytest.raises(UserError, match='is not a command'):
    questions.make_answer_fn("a 'b")
