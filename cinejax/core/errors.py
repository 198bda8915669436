"""The one exception that a user sees as a sentence instead of a traceback."""


class UserError(Exception):
  """What is wrong, where, and what to do, in one sentence.

  Commands print it as `error: …` and exit with code 2.
  """
