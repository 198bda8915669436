"""Describes the server in OpenAPI, from the table of its endpoints."""

import re
import types
from collections.abc import Iterable
from typing import Any

from cinejax.serving.http.endpoint import JSON, Endpoint

_TYPES = {
  str: 'string',
  int: 'integer',
  bool: 'boolean',
  dict: 'object',
  list: 'array',
}
_LIVE = (
  'WebSocket. Text messages to the server are directions (as in POST '
  '…/directions), each answered by {"type": "answer"} or {"type": "error"}. '
  'From the server: {"type": "session"}, its state; {"type": "chunk"}, '
  'followed by its frames as binary messages: revision and frame number (two '
  'big-endian uint32), then the image. ?format=jpeg or webp.'
)


def openapi_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
  """An OpenAPI 3.1 document."""
  paths: dict[str, Any] = {}
  for one in endpoints:
    path = re.sub(r'{(\w+):\w+}', r'{\1}', one.path)
    paths.setdefault(path, {})[one.method.lower()] = _operation(one)
  paths['/sessions/{name}/live'] = {
    'get': {'summary': _LIVE, 'responses': {'101': {'description': 'frames'}}}
    | _parameters('/sessions/{name:str}/live')
  }
  return {
    'openapi': '3.1.0',
    'info': {'title': 'cinejax', 'version': '1'},
    'components': {
      'securitySchemes': {'token': {'type': 'http', 'scheme': 'bearer'}}
    },
    'security': [{}, {'token': []}],
    'paths': paths,
  }


def _operation(one: Endpoint) -> dict[str, Any]:
  schema = {'type': 'object'} if one.media_type == JSON else {'type': 'string'}
  error = {'description': 'one sentence in "error"'}
  operation: dict[str, Any] = {
    'summary': one.summary,
    'responses': {
      '200': {
        'description': one.summary,
        'content': {one.media_type: {'schema': schema}},
      },
      '4XX': error,
    },
  }
  if one.body is not None:
    fields = {name: _schema(kind) for name, kind in one.body.items()}
    body = {'type': 'object', 'properties': fields}
    operation['requestBody'] = {'content': {JSON: {'schema': body}}}
  return operation | _parameters(one.path)


def _parameters(path: str) -> dict[str, Any]:
  names = re.findall(r'{(\w+):(\w+)}', path)
  return {
    'parameters': [
      {
        'name': name,
        'in': 'path',
        'required': True,
        'schema': {'type': 'integer' if kind == 'int' else 'string'},
      }
      for name, kind in names
    ]
  }


def _schema(kind: type | tuple[type, ...]) -> dict[str, str]:
  if isinstance(kind, tuple | types.UnionType):
    return {'type': 'number'}
  return {'type': _TYPES[kind]}
