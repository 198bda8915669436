"""What is printed while a stage trains, without a terminal."""

from cinejax.training.progress import ProgressDisplay


def test_rows_are_lines_where_there_is_no_terminal(capsys):
  with ProgressDisplay('base', 0, 10, show=True) as display:
    display.advance(5)
    display.report(5, {'loss': 0.25, 'steps_per_sec': 2.0, 'secs_left': 61.2})
    for share in (0.0, 0.5, 1.0):
      display.report_recall(5, {'recall/near_exact': share})
  first, *_, last = capsys.readouterr().out.splitlines()
  assert first == 'base 5/10: loss 0.2500, 2 steps/s, 0:01:01 left'
  assert last == 'base 5/10: appearance right: near 100% \u2581\u2585\u2588'


def test_a_process_that_does_not_show_prints_nothing(capsys):
  with ProgressDisplay('base', 0, 10, show=False) as display:
    display.report(5, {'steps_per_sec': 2.0, 'secs_left': 1})
  assert capsys.readouterr().out == ''
