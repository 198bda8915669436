"""Notes to the user."""

from cinejax.core.notes import note


def test_a_note_is_printed_once(capsys):
  for _ in range(2):
    note('tests/core/notes_test.py writes this')
  out, err = capsys.readouterr()
  assert err == 'note: tests/core/notes_test.py writes this\n' and not out
