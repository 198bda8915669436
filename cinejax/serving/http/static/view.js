// Draws the strip of shots; what other parts of the page share.

import { placesBySegment } from '/takes.js';

export const clock = (secs) =>
  `${Math.floor(secs / 60)}:${(secs % 60).toFixed(1).padStart(4, '0')}`;

export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.includes('-')) node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

// The second of the film at which a latent frame begins.
export const secsOf = (frame, model) =>
  Math.max(0, model.stride * (frame - 1) + 1) / model.fps;

export const thumbnail = (session, frame) =>
  `/sessions/${session.id}/frames/${frame}.jpg?revision=${session.revision}`;

// Opens the takes of a place of the film.
function takesButton({ chunk, label, takes }, name, on) {
  const count = takes.length + (label === null ? 0 : 1);
  return make('button', {
    type: 'button', className: 'takes',
    textContent: label === null ? `${count} to choose from`
      : `Take ${label} · ${count} in all`,
    title: 'See all takes side by side',
    'data-key': `takes ${chunk}`,
    'aria-label': `${count} takes of ${name}`,
    onclick: () => on.takes(chunk),
  });
}

export function drawStrip(list, session, model, on) {
  const places = placesBySegment(session);
  const frames = session.chunks * model.frames_per_chunk;
  const follows = list.scrollLeft + list.clientWidth > list.scrollWidth - 240;
  const cards = session.segments.map((one, n) => {
    const frame = one.chunk * model.frames_per_chunk + 1;
    const continues = n > 0 && !one.cut;
    const name = continues ? `Shot ${one.shot + 1}, continued` : `Shot ${one.shot + 1}`;
    const image = make('img', { alt: '', loading: 'lazy' });
    if (frame < frames) image.src = thumbnail(session, frame);
    const back = make('div', { className: 'back' });
    back.append(...(places.get(n) ?? []).map((place) => takesButton(place, name, on)));
    if (session.rewind_chunks.includes(one.chunk)) {
      back.append(
        make('button', {
          type: 'button', textContent: 'Retake',
          title: 'Go back to before this, and direct it again',
          'data-key': `retake ${one.chunk}`,
          'aria-label': `Retake from ${name}`,
          onclick: () => on.retake(one),
        }),
        make('button', {
          type: 'button', textContent: 'Fork',
          title: 'Another film with the same beginning',
          'data-key': `fork ${one.chunk}`,
          'aria-label': `Fork before ${name}`,
          onclick: () => on.fork(one),
        }),
      );
    }
    const card = make('li', { className: continues ? 'continued' : '' },
      make('div', { className: 'thumbnail' }, image,
        make('div', { className: 'head' },
          make('span', { textContent: name }),
          make('span', {
            className: 'mono',
            textContent: clock(one.secs),
            title: `${one.chunks} chunks`,
          }))),
      make('button', {
        type: 'button', className: 'reuse',
        title: `Use this prompt again: ${one.prompt}`,
        'data-key': `reuse ${one.chunk}`,
        onclick: () => on.reuse(one.prompt),
      }, make('span', { textContent: one.prompt })),
      back);
    if (n === session.segments.length - 1) {
      card.setAttribute('aria-current', 'true');
    }
    return card;
  });
  cards.push(...(places.get(-1) ?? []).map((place) => {
    const shot = place.takes[0].shot + 1;
    return make('li', { className: 'next' },
      make('div', { className: 'thumbnail' }, on.picture(place.takes.at(-1))),
      make('p', { className: 'dim',
        textContent: `Shot ${shot} is yet to be directed again.` }),
      make('div', { className: 'back' }, takesButton(place, `Shot ${shot}`, on)));
  }));
  const grew = cards.length > list.children.length;
  const focused = list.contains(document.activeElement)
    && document.activeElement.dataset.key;
  list.replaceChildren(...cards);
  if (focused) list.querySelector(`[data-key="${focused}"]`)?.focus();
  if (grew || follows) list.scrollLeft = list.scrollWidth;
}
