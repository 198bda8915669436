// Films of one screenplay and seed under several memories, in step.

import { ask, Live } from '/client.js';
import { memory } from '/controls.js';
import { fit } from '/fit.js';
import { Lane } from '/lane.js';
import '/theme.js';
import { clock, make } from '/view.js';

const at = (id) => document.getElementById(id);
const model = await ask('GET', '/model');
const CHOSEN = ['camr', 'sink', 'window'];
const MOST = 4;
const STORY = [
  'Ada walks left in the forest, wide shot * 2',
  'Ben jumps on the beach, medium shot * 2',
  'Ben walks left in the desert, medium shot * 2',
  'Ben stands in the city, wide shot * 2',
  'Ada stands in the forest, medium shot * 2',
];
const FREE = [
  'A woman in a red coat walks through a snowy street, wide shot * 2',
  'A cat sleeps on a window sill, close-up * 2',
  'Waves break on black rocks, wide shot * 2',
  'The woman in the red coat turns around, close-up * 2',
];
let films = []; // {session, live, frames, lane, …}, in the order of the page

function fail(error) {
  at('error').textContent = error.message;
  setTimeout(() => { at('error').textContent = ''; }, 8000);
}

// --- the choice ------------------------------------------------------------

for (const policy of model.policies) {
  const box = make('input', {
    type: 'checkbox', value: policy, checked: CHOSEN.includes(policy) });
  at('policies').append(make('label', {}, box,
    make('span', {}, make('b', { textContent: policy }), ` ${memory(policy)}`)));
}
at('script').value = (model.vocabulary ? STORY : FREE).join('\n');
at('prompt').placeholder = (model.vocabulary ? STORY : FREE)[0]
  .replace(/ \* 2$/, '');
if (model.height < 256) {
  document.documentElement.style.setProperty('--rendering', 'pixelated');
}

function screenplay() {
  const segments = at('script').value.split('\n').map((line) => line.trim())
    .filter(Boolean).map((line) => {
      const [, text, count] = line.match(/^(.*?)(?:\s*\*\s*(\d+))?$/);
      const cut = !/^continue\s*:/i.test(text);
      return { prompt: text.replace(/^(cut|continue)\s*:\s*/i, ''),
        chunks: Number(count ?? 1), cut };
    });
  if (!segments.length) throw new Error('write a shot on each line');
  return { segments };
}

async function begin(film) {
  const policies = [...at('policies').querySelectorAll('input')]
    .filter((box) => box.checked).map((box) => box.value);
  const body = { policies };
  if (film) body.film = film;
  if (at('seed').value !== '') body.seed = Number(at('seed').value);
  try {
    const { sessions } = await ask('POST', '/comparisons', body);
    history.replaceState(null, '', `#${sessions.map((one) => one.id).join('+')}`);
    enter(sessions);
  } catch (error) {
    fail(error);
  }
}

at('policies').onchange = () => {
  const boxes = [...at('policies').querySelectorAll('input')];
  const full = boxes.filter((box) => box.checked).length >= MOST;
  for (const box of boxes) box.disabled = full && !box.checked;
};
at('setup').addEventListener('submit', (event) => {
  event.preventDefault();
  try {
    begin(screenplay());
  } catch (error) {
    fail(error);
  }
});
at('live').onclick = () => begin(null);
at('another').onclick = () => { location.href = '/compare.html'; };

// --- the films -------------------------------------------------------------

function enter(sessions) {
  at('setup').hidden = true;
  at('films').hidden = at('say').hidden = at('another').hidden = false;
  document.documentElement.style.setProperty('--films', sessions.length);
  at('about').textContent = `${model.name} · seed ${sessions[0].seed}`;
  films = sessions.map(open);
  at('films').replaceChildren(...films.map((film) => film.node));
  for (const film of films) fit(film.canvas, film.node, model, 0.58);
  show();
  at('prompt').focus({ preventScroll: true });
}

function open(session) {
  const policy = session.settings.policy || model.policy;
  const canvas = make('canvas', {
    width: model.width, height: model.height, role: 'img',
    'aria-label': `The film under the memory ${policy}` });
  const part = (tag, className, more = {}) => make(tag, { className, ...more });
  const reading = part('span', 'dim');
  const track = part('div', 'track', { 'aria-hidden': 'true' });
  const routed = part('ol', 'reads', {
    'aria-label': `Past frames that ${policy} reads` });
  const words = part('p', 'words dim');
  const film = { session, policy, canvas, chunks: new Map() };
  film.lane = new Lane({ track, routed, reading, words }, model);
  film.node = make('figure', {}, canvas,
    make('figcaption', {},
      make('span', { className: 'name', textContent: policy }),
      make('span', { className: 'dim', textContent: ` reads ${memory(policy)}` })),
    make('section', { className: 'lane', 'aria-label': `Memory of ${policy}` },
      make('h2', {}, 'Memory ', reading), track, routed, words));
  film.live = new Live(session.id, {
    event: (event) => receive(film, event),
    frame: (revision, number, blob) => addFrame(film, number, blob),
    lost: () => { at('shot').textContent = 'The connection is lost…'; },
    gone: () => fail(new Error(`the film of ${policy} is not live any more`)),
  });
  film.lane.clear();
  return film;
}

function receive(film, event) {
  if (event.type === 'session') {
    film.session = event;
    show();
  } else if (event.type === 'chunk') {
    film.session.chunks = event.chunk + 1;
    film.chunks.set(event.chunk, { event, images: [] });
    schedule(event.chunk);
  } else if (event.type === 'error') {
    fail(new Error(event.error));
  }
}

async function addFrame(film, number, blob) {
  const chunk = [...film.chunks.values()].find(({ event }) =>
    number >= event.frame && number < event.frame + event.frames);
  if (chunk) chunk.images[number - chunk.event.frame] = await createImageBitmap(blob);
}

// --- in step: a chunk begins on all screens at once ------------------------

let ends = 0; // when the last scheduled chunk leaves the screen

function schedule(number) {
  if (!films.every((film) => film.chunks.has(number))) return;
  const chunks = films.map((film) => film.chunks.get(number));
  const wait = Math.max(...chunks.map(({ event }) => event.starts_in_ms));
  const { frames } = chunks[0].event;
  const begins = Math.max(performance.now() + wait, ends);
  ends = begins + (1000 * frames) / model.fps;
  for (const chunk of chunks) chunk.begins = begins;
  setTimeout(() => onScreen(number), begins - performance.now());
}

function onScreen(number) {
  for (const film of films) {
    const chunk = film.chunks.get(number);
    if (!chunk) continue;
    film.lane.draw(chunk.event, film.session);
    film.chunks.delete(number - 3);
  }
  const { event } = films[0].chunks.get(number) ?? {};
  if (event) at('shot').textContent = `Shot ${event.shot + 1}: ${event.prompt}`;
}

function draw(now) {
  for (const film of films) {
    for (const { event, images, begins } of film.chunks.values()) {
      if (begins === undefined || now < begins) continue;
      const frame = Math.floor(((now - begins) * model.fps) / 1000);
      const image = images[Math.min(frame, event.frames - 1)];
      if (!image || frame > event.frames + 1) continue;
      film.canvas.getContext('2d').drawImage(
        image, 0, 0, model.width, model.height);
    }
  }
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

// --- directions to all -----------------------------------------------------

function show() {
  const rolls = films.some(({ session }) => session.status === 'rolling');
  const compiles = films.some(({ session }) => session.compiling);
  at('play').textContent = rolls ? '❚❚ Pause' : '▶ Roll';
  const { reason, secs } = films[0]?.session ?? {};
  if (compiles) {
    at('shot').textContent = 'Programs for these memories are being compiled…';
  } else if (!rolls && reason) {
    at('shot').textContent = `${reason} · ${clock(secs)}`;
  }
}

async function say(direction) {
  try {
    await ask('POST', `/comparisons/${films[0].session.id}/directions`, direction);
  } catch (error) {
    fail(error);
  }
}

function prompt(cut) {
  const text = at('prompt').value.trim() || at('prompt').placeholder;
  say({ do: 'prompt', prompt: text, cut });
  at('prompt').value = '';
}

at('say').addEventListener('submit', (event) => {
  event.preventDefault();
  prompt(false);
});
at('cut').onclick = () => prompt(true);
at('prompt').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.isComposing) return;
  event.preventDefault();
  prompt(event.shiftKey);
});
at('play').onclick = () => say({
  do: films.some(({ session }) => session.status === 'rolling') ? 'pause' : 'resume' });

// --- what the address asks for ---------------------------------------------

const asked = location.hash.slice(1);
if (asked.startsWith('from=')) {
  const id = encodeURIComponent(asked.slice(5));
  at('back').href = `/#${id}`;
  await ask('GET', `/sessions/${id}/screenplay.json`).then((film) => {
    at('script').value = film.segments.map((one, n) =>
      `${n && one.cut === false ? 'continue: ' : ''}${one.prompt} * ${one.chunks}`).join('\n');
    at('seed').value = film.seed ?? '';
  }, fail);
} else if (asked) {
  await Promise.all(asked.split('+').map((id) =>
    ask('GET', `/sessions/${encodeURIComponent(id)}`))).then(enter, fail);
}
