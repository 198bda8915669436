// The prompt while it is written: choices for its next part, marks under words
// that the model does not know, and where the text encoder stops reading.

import { ask } from '/client.js';
import { make } from '/view.js';

const WAIT_MS = 180; // after the last key, before the server is asked

const bare = (text) => text.replace(/^[\s,]+/, '').toLowerCase();

// The choices for the part of the prompt that is written at its end, and what
// is typed of it already.
export function suggest(text, vocabulary) {
  let rest = text.replace(/^\s*cut\s*:/i, '');
  for (const part of vocabulary ?? []) {
    const typed = bare(rest);
    const whole = part
      .filter((one) => typed.startsWith(bare(one)))
      .sort((a, b) => b.length - a.length)[0];
    const after = whole && typed.slice(bare(whole).length);
    if (whole === undefined || /^\w/.test(after)) {
      return { typed, options: part.filter((one) => bare(one).startsWith(typed)) };
    }
    rest = after;
  }
  return { typed: '', options: [] };
}

// The text with one of the choices in place of what is typed of it.
export function complete(text, typed, option) {
  const start = typed ? text.slice(0, text.length - typed.length) : text;
  const before = start.replace(/[\s,]+$/, '');
  const gap = !before || option.startsWith(',') ? '' : ' ';
  return `${before}${gap}${option}`;
}

export class Composer {
  // nodes: {prompt, marks, choices, tokens, notes}
  constructor(nodes, model) {
    this.nodes = nodes;
    this.model = model;
    nodes.prompt.maxLength = model.prompt_chars;
    nodes.prompt.addEventListener('input', () => this.show());
    nodes.prompt.addEventListener('scroll', () => {
      nodes.marks.scrollTop = nodes.prompt.scrollTop;
    });
    nodes.prompt.addEventListener('keydown', (event) => {
      const { typed, options } = this.suggested;
      if (event.key !== 'Tab' || event.shiftKey || !typed || !options.length) return;
      event.preventDefault();
      this.take(options[0]);
    });
    this.show();
  }

  // Puts a text into the field, as if it were typed.
  write(text) {
    this.nodes.prompt.value = text;
    this.show();
    this.nodes.prompt.focus();
  }

  take(option) {
    const { prompt } = this.nodes;
    this.write(complete(prompt.value.trimEnd(), this.suggested.typed, option));
    prompt.setSelectionRange(prompt.value.length, prompt.value.length);
  }

  show() {
    const text = this.nodes.prompt.value;
    this.suggested = suggest(text.trimEnd(), this.model.vocabulary);
    this.nodes.choices.replaceChildren(...this.suggested.options.map((option) =>
      make('button', {
        type: 'button',
        textContent: option.replace(/^, /, ''),
        onclick: () => this.take(option),
      })));
    this.nodes.marks.replaceChildren();
    if (!text.trim()) {
      this.nodes.tokens.textContent = '';
      this.nodes.notes.replaceChildren();
    }
    clearTimeout(this.timer);
    if (text.trim()) this.timer = setTimeout(() => this.read(text), WAIT_MS);
  }

  async read(text) {
    let answer;
    try {
      answer = await ask('POST', '/prompt', { prompt: text });
    } catch {
      return; // the next key asks again
    }
    if (text !== this.nodes.prompt.value) return;
    this.nodes.tokens.textContent = `${answer.tokens} of ${answer.limit} tokens`;
    this.nodes.notes.replaceChildren(
      ...answer.notes.map((note) => make('li', { textContent: note })));
    this.nodes.notes.classList.toggle(
      'bad', answer.unknown.length > 0 || answer.read < text.length);
    const edges = new Set([0, answer.read, text.length, ...answer.unknown.flat()]);
    const places = [...edges].sort((a, b) => a - b);
    this.nodes.marks.replaceChildren(...places.slice(1).map((stop, n) => {
      const start = places[n];
      const unknown = answer.unknown.some(([a, b]) => a <= start && stop <= b);
      return make(unknown || start >= answer.read ? 'mark' : 'span', {
        className: start >= answer.read ? 'unread' : '',
        textContent: text.slice(start, stop),
      });
    }));
    this.nodes.marks.scrollTop = this.nodes.prompt.scrollTop;
  }
}
