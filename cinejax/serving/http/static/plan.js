// The planned shots: ordered by drag or keys, edited, given lengths, deleted.

import { clock, make } from '/view.js';

// What is planned for one chunk is one entry; `length` in chunks is null for the
// last entry of a plan without an end.
export function entriesOf(session) {
  const entries = [];
  for (const one of session.planned) {
    const last = entries.at(-1);
    if (last?.chunk === one.chunk) {
      last.prompt = one.prompt ?? last.prompt;
      last.cut ||= one.cut;
    } else {
      entries.push({ ...one });
    }
  }
  entries.forEach((one, n) => {
    const stop = entries[n + 1]?.chunk
      ?? (session.planned_more ? null : session.end_chunk);
    // The last one may be planned for later than the end.
    one.length = stop === null || stop === undefined ? null
      : Math.max(1, stop - one.chunk);
  });
  return entries;
}

export class PlanList {
  // nodes: {box, list, note}; say: sends a direction
  constructor(nodes, model, say) {
    this.nodes = nodes;
    this.model = model;
    this.say = say;
  }

  update(session) {
    this.session = session;
    if (this.dragged || this.editing) return; // drawn when that has ended
    this.draw();
  }

  draw() {
    const { list, box } = this.nodes;
    this.entries = entriesOf(this.session);
    const more = this.session.planned_more;
    box.hidden = !this.entries.length;
    const key = document.activeElement?.dataset?.key;
    const held = key && list.contains(document.activeElement);
    list.replaceChildren(
      ...this.entries.map((one, n) => this.row(one, n)),
      ...(more ? [make('li', { className: 'dim', textContent: `and ${more} more` })] : []));
    if (this.moved !== undefined) {
      // The handle that was moved by keys keeps the focus at its new place.
      list.children[this.moved]?.querySelector('.handle')?.focus();
      this.moved = undefined;
    } else if (held) {
      list.querySelector(`[data-key="${key}"]`)?.focus();
    }
  }

  row(one, n) {
    const name = one.prompt ?? 'settings';
    const handle = make('button', {
      type: 'button', className: 'handle', textContent: '⠿',
      title: 'Drag, or use the arrow keys, to change the order',
      'aria-label': `Move “${name}”, ${n + 1} of ${this.entries.length}`,
      'data-key': `move ${n}`,
    });
    handle.onkeydown = (event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.move(one, n, n + by);
    };
    handle.onpointerdown = (event) => this.drag(event, one, n);
    const text = make('button', {
      type: 'button', className: 'text', textContent: name,
      title: 'Change the prompt', 'data-key': `edit ${n}`,
      onclick: () => this.edit(row, text, one),
    });
    const length = make('input', {
      type: 'number', min: 1, max: 999, step: 1, value: one.length ?? '',
      placeholder: '–', title: 'Length in chunks', 'data-key': `length ${n}`,
      'aria-label': `Length of “${name}” in chunks`,
    });
    length.onfocus = () => { this.editing = true; };
    length.onchange = () => {
      const chunks = Number(length.value);
      if (chunks >= 1) this.say({ do: 'edit_planned', chunk: one.chunk, chunks });
    };
    length.onblur = () => this.ended();
    length.onkeydown = (event) => {
      if (event.key === 'Enter') {
        event.preventDefault(); // it sends no prompt
        length.blur();
      }
    };
    const cut = make('button', {
      type: 'button', className: 'cut', textContent: one.cut ? 'cut' : 'on',
      title: one.cut ? 'Starts a new shot' : 'Continues the shot',
      'aria-label': `“${name}” starts a new shot`, 'data-key': `cut ${n}`,
      'aria-pressed': one.cut,
      onclick: () =>
        this.say({ do: 'edit_planned', chunk: one.chunk, cut: !one.cut }),
    });
    const row = make('li', {}, handle,
      make('span', { className: 'mono dim', textContent: clock(one.secs) }),
      text, cut, length,
      make('button', {
        type: 'button', className: 'gone', textContent: '×',
        title: 'Delete', 'aria-label': `Delete “${name}”`,
        'data-key': `delete ${n}`,
        onclick: () => {
          this.say({ do: 'delete_planned', chunk: one.chunk });
          this.deleted(name);
        },
      }));
    return row;
  }

  move(one, from, to) {
    if (to < 0 || to >= this.entries.length || to === from) return;
    this.moved = to;
    this.say({ do: 'move_planned', chunk: one.chunk, place: to });
  }

  edit(row, text, one) {
    this.editing = true;
    const input = make('input', {
      value: one.prompt ?? '', className: 'text', maxLength: this.model.prompt_chars,
      'aria-label': 'Planned prompt' });
    let done = false;
    const close = (save) => {
      if (done) return;
      done = true;
      const prompt = input.value.trim();
      if (save && prompt && prompt !== one.prompt) {
        this.say({ do: 'edit_planned', chunk: one.chunk, prompt });
      }
      this.ended();
    };
    input.onkeydown = (event) => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      event.preventDefault();
      close(event.key === 'Enter');
    };
    input.onblur = () => close(true);
    row.replaceChild(input, text);
    input.focus();
  }

  ended() {
    this.editing = false;
    this.draw();
  }

  deleted(name) {
    const { note } = this.nodes;
    note.replaceChildren(`Deleted “${name}”. `, make('button', {
      type: 'button', textContent: 'Undo',
      onclick: () => {
        this.say({ do: 'undo' });
        note.replaceChildren();
      } }));
    clearTimeout(this.fading);
    this.fading = setTimeout(() => note.replaceChildren(), 12_000);
  }

  drag(event, one, from) {
    if (event.button) return;
    const { list } = this.nodes;
    const row = event.currentTarget.closest('li');
    const handle = event.currentTarget;
    handle.setPointerCapture(event.pointerId);
    this.dragged = true;
    row.classList.add('dragged');
    const rows = () => [...list.children].slice(0, this.entries.length);
    handle.onpointermove = ({ clientY }) => {
      const others = rows().filter((other) => other !== row);
      const after = others.find((other) => {
        const box = other.getBoundingClientRect();
        return clientY < box.top + box.height / 2;
      });
      // The others move around it, as a row that moves would be let go.
      const place = after ? others.indexOf(after) : others.length;
      let now = rows().indexOf(row);
      for (; now > place; now--) {
        list.insertBefore(row.previousElementSibling, row.nextElementSibling);
      }
      for (; now < place; now++) list.insertBefore(row.nextElementSibling, row);
    };
    const end = (cancelled) => {
      handle.onpointermove = handle.onpointerup = handle.onpointercancel = null;
      const to = rows().indexOf(row);
      this.dragged = false;
      row.classList.remove('dragged');
      if (cancelled || to === from) return this.draw();
      this.move(one, from, to);
    };
    handle.onpointerup = () => end(false);
    handle.onpointercancel = () => end(true);
  }
}
