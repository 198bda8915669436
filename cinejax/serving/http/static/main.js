// The page: one session, its film, what is said to it.

import { ask, Live } from '/client.js';
import { Film } from '/film.js';
import { clock, drawLane, drawStrip, make } from '/view.js';

const at = (id) => document.getElementById(id);
const model = await ask('GET', '/model');
const film = new Film(at('film'), model);
let session = null; // as the server told it last
let live = null;
let chunk = null; // the event of the chunk on screen
let asleep = false; // the server has saved the film and forgotten it

// --- the session -----------------------------------------------------------

function enter(told) {
  live?.close();
  film.clear();
  chunk = null;
  asleep = false;
  session = told;
  history.replaceState(null, '', `#${told.id}`);
  at('track').replaceChildren();
  at('looking').textContent = '';
  at('looks').replaceChildren(make('li', {
    className: 'none', textContent: 'What the memory looks at is shown here.' }));
  live = new Live(told.id, {
    event,
    frame: (revision, frame, blob) => film.add(revision, frame, blob),
    lost: () => slate('The connection is lost; trying again…'),
    gone: () => restore(told.id),
  });
  show();
  at('prompt').focus();
}

async function restore(id) {
  try {
    enter(await ask('POST', '/sessions', { restore: id }));
  } catch {
    fail(new Error('that film is gone; here is a new one'));
    await begin({});
  }
}

async function begin(body) {
  try {
    const told = await ask('POST', '/sessions', body);
    if (session && !session.chunks) leave(session.id);
    enter(told);
  } catch (error) {
    fail(error);
  }
}

const leave = (id) => ask('DELETE', `/sessions/${id}`).catch(() => {});

function event(told) {
  if (told.type === 'session') {
    session = told;
    show();
  } else if (told.type === 'chunk') {
    film.expect(told);
    session.chunks = told.chunk + 1;
    setTimeout(() => onScreen(told), told.starts_in_ms);
  } else if (told.type === 'error') {
    fail(new Error(told.error));
  } else if (told.type === 'answer' && told.compiling) {
    slate('That is being prepared; the film goes on meanwhile.');
    setTimeout(show, 4000);
  } else if (told.type === 'saved') {
    asleep = true;
    live.close();
    slate('Nobody was here, so the film was saved. Roll takes it up again.');
  } else if (told.type === 'closing') {
    slate('The server is closing; the film is saved.');
  }
}

function onScreen(told) {
  if (told.revision !== session.revision) return;
  const opens = !chunk || told.segment !== chunk.segment;
  chunk = told;
  drawLane(
    { track: at('track'), looks: at('looks'), looking: at('looking') },
    told, session, model);
  at('latency').textContent =
    told.latency_ms === null ? '–' : `${told.latency_ms} ms`;
  at('made').textContent =
    `${((1000 * told.frames) / Math.max(1, told.generation_ms)).toFixed(0)} fps`;
  at('film').setAttribute('aria-label', `The film: ${told.prompt}`);
  showLength(told.shot, (told.frame + told.frames) / model.fps);
  if (opens) {
    const what = told.cut || told.chunk === 0 ? `Shot ${told.shot + 1}` : 'Goes on';
    at('say-aloud').textContent = `${what}: ${told.prompt}`;
    show();
  }
  const last = session.segments.at(-1);
  if (last) last.chunks = Math.max(last.chunks, told.chunk + 1 - last.chunk);
}

// --- what is shown ---------------------------------------------------------

function show() {
  const rolls = session.status === 'rolling';
  at('play').textContent = rolls ? '❚❚ Pause' : '▶ Roll';
  at('play').setAttribute('aria-label', rolls ? 'Pause' : 'Roll');
  at('play').disabled = !session.segments.length;
  slate(rolls ? '' : session.reason);
  const few = `${session.title || 'Untitled'} · seed ${session.seed}`;
  at('about').textContent = `${model.name} · ${few}`;
  document.title = `${session.title || 'Untitled'} · cinejax`;
  offer('mp4', 'film.mp4');
  offer('screenplay', 'screenplay.json');
  drawStrip(at('strip'), session, model, { retake, fork, reuse });
  showLength(session.segments.at(-1)?.shot, session.secs);
  at('plan').hidden = !session.planned.length;
  at('planned').replaceChildren(
    ...session.planned.map((one) =>
      make('li', {},
        make('span', { className: 'mono', textContent: clock(one.secs) }),
        `${one.cut ? 'Cut: ' : ''}${one.prompt ?? 'settings'}`)));
  showSettings();
}

function showLength(shot, secs) {
  at('length').textContent =
    shot === undefined ? '' : `${shot + 1} · ${clock(secs)}`;
}

// A download, once there is something; before, no key leads there either.
function offer(id, file) {
  at(id).setAttribute('aria-disabled', String(!session.chunks));
  if (session.chunks) at(id).href = `/sessions/${session.id}/${file}`;
  else at(id).removeAttribute('href');
}

function showSettings() {
  const { policy, steps, guidance } = session.settings;
  const values = {
    policy: policy || model.policy,
    steps: steps ?? model.steps,
    guidance: guidance ?? model.guidance ?? 1,
  };
  for (const [id, value] of Object.entries(values)) {
    if (document.activeElement !== at(id)) at(id).value = value;
  }
}

function slate(text) {
  at('slate').textContent = text ?? '';
}

let failing;
function fail(error) {
  at('error').textContent = error.message;
  clearTimeout(failing);
  failing = setTimeout(() => { at('error').textContent = ''; }, 6000);
}

setInterval(() => {
  at('time').textContent = clock(film.secs);
  const rate = film.rate();
  at('fps').textContent = rate === null ? '–' : `${rate.toFixed(1)} fps`;
}, 250);

// --- what is said ----------------------------------------------------------

async function say(direction) {
  if (asleep) {
    await restore(session.id);
    await live.open;
  }
  if (!live.send(direction)) fail(new Error('there is no connection yet'));
}

function prompt(cut) {
  const text = at('prompt').value.trim();
  if (!text) return at('prompt').focus();
  const direction = { do: 'prompt', prompt: text, cut };
  if (!cut && at('blend').value !== '0') {
    direction.blend_chunks = Number(at('blend').value);
  }
  if (at('at').value !== '') direction.at_secs = Number(at('at').value);
  say(direction);
  at('at').value = ''; // the next prompt is for now again
  at('prompt').select();
}

const retake = (one) => say({ do: 'rewind', chunk: one.chunk });
async function fork(one) {
  try {
    enter(await ask('POST', `/sessions/${session.id}/fork`, { chunk: one.chunk }));
  } catch (error) {
    fail(error);
  }
}
function reuse(text) {
  at('prompt').value = text;
  at('prompt').focus();
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
at('play').onclick = () =>
  say({ do: session.status === 'rolling' ? 'pause' : 'resume' });
at('hold').onclick = () => say({ do: 'hold' });
at('policy').onchange = () => say({ do: 'set', policy: at('policy').value });
for (const id of ['steps', 'guidance']) {
  at(id).onchange = () => say({ do: 'set', [id]: Number(at(id).value) });
}
at('films').onclick = async () => {
  const { live: others, saved } = await ask('GET', '/sessions');
  const row = (one, how) =>
    make('li', {},
      make('button', {
        type: 'button',
        textContent: one.title || 'Untitled',
        onclick: () => {
          at('shelf').close();
          if (how === 'saved') restore(one.id);
          else ask('GET', `/sessions/${one.id}`).then(enter, fail);
        },
      }),
      make('span', { className: 'dim', textContent: how }));
  at('shelved').replaceChildren(
    ...others.map((one) => row(one, `${one.status} · ${clock(one.secs)}`)),
    ...saved.map((one) => row(one, 'saved')));
  at('shelf').showModal();
};
at('close').onclick = () => at('shelf').close();
at('new').onclick = () => begin({});
at('open').onclick = () => at('file').click();
at('file').onchange = () => run(at('file').files[0]);
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  run(event.dataTransfer.files[0]);
});
document.addEventListener('keydown', (event) => {
  const typing = event.target.closest?.('input, textarea, select, button, a');
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === ' ') at('play').click();
  else if (event.key === '/') at('prompt').focus();
  else return;
  event.preventDefault();
});

async function run(file) {
  if (!file) return;
  try {
    const document = JSON.parse(await file.text());
    await begin({ film: document });
  } catch (error) {
    fail(error instanceof SyntaxError
      ? new Error(`${file.name} is not JSON`) : error);
  } finally {
    at('file').value = '';
  }
}

// --- how it looks ----------------------------------------------------------

const dark = matchMedia('(prefers-color-scheme: dark)');
const theme = (name) => { document.documentElement.dataset.theme = name; };
const chosen = localStorage.getItem('theme');
theme(chosen ?? (dark.matches ? 'dark' : 'light'));
dark.onchange = () => {
  if (!localStorage.getItem('theme')) theme(dark.matches ? 'dark' : 'light');
};
at('theme').onclick = () => {
  const other = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  theme(other);
  localStorage.setItem('theme', other);
};

for (const policy of model.policies) {
  at('policy').append(make('option', { value: policy, textContent: policy }));
}
for (const n of [0, 1, 2, 3, 4, 6, 8]) {
  const text = n ? `${n} chunk${n > 1 ? 's' : ''}` : 'no blend';
  at('blend').append(make('option', { value: n, textContent: text }));
}
document.documentElement.style.setProperty(
  '--aspect', model.width / model.height);
at('prompt').maxLength = model.prompt_chars;
at('guidance').disabled = model.guidance === null;
const limits = [`A chunk lasts ${model.chunk_secs.toFixed(2)} s; what is said falls on the next one.`];
if (model.guidance === null) limits.push('This model runs without guidance.');
if (model.steps_allowed) {
  limits.push(`It takes ${model.steps_allowed.join(', ')} steps.`);
}
at('limits').textContent = limits.join(' ');

const known = location.hash.slice(1);
if (known) {
  await ask('GET', `/sessions/${encodeURIComponent(known)}`)
    .then(enter, () => restore(known));
} else {
  await begin({});
}
