"""The exception whose message is shown to users without a traceback."""


class UserError(Exception):
  """An error that a user can correct.

  The message says in one sentence what is wrong, where, and what to do.

  Commands print it as `error: …` and exit with code 2.
  """
